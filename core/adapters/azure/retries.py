"""How often and how long the SDKs try again, and what they send once.

Invariants: every wait is bounded, whatever a server asks for; what cannot heal within seconds (an untrusted
certificate, an unknown host name, a refusing proxy) is not tried again; a request is REPEATABLE, or it is sent once.
What is sent once goes out again only where it certainly was not done: after a 429, after a 401 with its challenge, and
where no connection came about. By itself azure-core repeats a POST after 500, 503 and 504, and anything at all after an
answer with Retry-After or a broken connection. (What aiohttp repeats, `transports` switches off.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncHTTPPolicy, AsyncRetryPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest

from core.adapters.azure.failures import is_lasting, is_unsent

#: A server that asks for a longer wait than this gets its way from the caller, not from a sleeping request.
LONGEST_RETRY_AFTER = 30.0

_DEFAULTS: Mapping[str, Any] = {
    "retry_total": 6,
    "retry_connect": 2,
    "retry_read": 3,
    "retry_status": 6,
    "retry_backoff_factor": 0.8,
    "retry_backoff_max": 20,
}

#: Request options that make a POST retried like a GET: done twice, it does no more than once.
REPEATABLE: Mapping[str, Any] = {"retry_on_methods": frozenset({"GET", "PUT", "POST", "PATCH", "DELETE"})}

_SENDING = "sending"
_REDIRECTION, _TIMED_OUT, _TOO_MANY, _SERVER_ERRORS = 300, 408, 429, 500


@dataclass(slots=True)
class Sending:
    """What is known of a request that is sent once: whether the server did it, may have done it, or may still do it."""

    outstanding: bool = False


def sent_once(sending: Sending) -> dict[str, Any]:
    """Return the request options of a request that is sent once; `sending` tells afterwards what became of it."""
    return {_SENDING: sending, **REPEATABLE}


def may_be_done(status: int) -> bool:
    """Whether a request with this answer was done, or may have been: a server that fails may fail after the work."""
    return status < _REDIRECTION or status == _TIMED_OUT or status >= _SERVER_ERRORS


class SendingPolicy(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Keeps the books of `Sending`, attempt by attempt; behind authentication, whose failures send nothing."""

    async def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        """Send, and note what the answer, or its absence, says about the request."""
        # Options are the transport's in the end; what a repeated attempt needs again moves to the context.
        if _SENDING in request.context.options:
            request.context[_SENDING] = request.context.options.pop(_SENDING)
        sending: Sending | None = request.context.get(_SENDING)
        if sending is None:
            return await self.next.send(request)
        sending.outstanding = True
        try:
            response = await self.next.send(request)
        except Exception as error:
            sending.outstanding = not is_unsent(error)
            raise
        sending.outstanding = may_be_done(response.http_response.status_code)
        return response


class BoundedRetryPolicy(AsyncRetryPolicy[HttpRequest, AsyncHttpResponse]):
    """The SDK's retry policy with the bounds above; keyword arguments are the SDK's own."""

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - the SDK's options
        super().__init__(**{**_DEFAULTS, **kwargs})

    def configure_retries(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the settings of one request."""
        return {**super().configure_retries(options), _SENDING: options.get(_SENDING)}

    def is_retry(self, settings: dict[str, Any], response: PipelineResponse[Any, Any]) -> bool:
        """Whether to send the request again after this answer."""
        if (self.get_retry_after(response) or 0) > LONGEST_RETRY_AFTER:
            return False
        if settings[_SENDING] is not None:
            return bool(response.http_response.status_code == _TOO_MANY)
        return bool(super().is_retry(settings, response))

    def increment(
        self,
        settings: dict[str, Any],
        response: PipelineRequest[Any] | PipelineResponse[Any, Any] | None = None,
        error: Exception | None = None,
    ) -> bool:
        """Whether an attempt is left after this answer or error."""
        sending: Sending | None = settings[_SENDING]
        if error is not None and (is_lasting(error) or (sending is not None and sending.outstanding)):
            return False
        return bool(super().increment(settings, response, error))
