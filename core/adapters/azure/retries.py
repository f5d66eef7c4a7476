"""How often and how long the SDKs try again.

Invariants: every wait is bounded, whatever a server asks for; what cannot heal within seconds (an untrusted
certificate, an unknown host name, a refusing proxy) is not tried again; every request of this package may be repeated.
"""

from collections.abc import Mapping
from typing import Any

from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncRetryPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest

from core.adapters.azure.failures import is_lasting

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

#: Request options that make a POST retried like a GET: backups and probes change nothing.
REPEATABLE: Mapping[str, Any] = {"retry_on_methods": frozenset({"GET", "PUT", "POST", "PATCH", "DELETE"})}


class BoundedRetryPolicy(AsyncRetryPolicy[HttpRequest, AsyncHttpResponse]):
    """The SDK's retry policy with the bounds above; keyword arguments are the SDK's own."""

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - the SDK's options
        super().__init__(**{**_DEFAULTS, **kwargs})

    def is_retry(self, settings: dict[str, Any], response: PipelineResponse[Any, Any]) -> bool:
        """Whether to send the request again after this answer."""
        if (self.get_retry_after(response) or 0) > LONGEST_RETRY_AFTER:
            return False
        return bool(super().is_retry(settings, response))

    def increment(
        self,
        settings: dict[str, Any],
        response: PipelineRequest[Any] | PipelineResponse[Any, Any] | None = None,
        error: Exception | None = None,
    ) -> bool:
        """Whether an attempt is left after this answer or error."""
        if error is not None and is_lasting(error):
            return False
        return bool(super().increment(settings, response, error))
