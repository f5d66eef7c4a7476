"""Errors as the storage SDKs raise them."""

from typing import Any, cast

from azure.core.exceptions import HttpResponseError

UPSTREAM_BODY = "what the service said"


class Response:
    """As much of a response as an SDK error reads."""

    reason = "Because"

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status_code = status
        self.headers = headers

    def body(self) -> bytes:
        return UPSTREAM_BODY.encode()


def a_response(status: int, **headers: str) -> Any:
    """Build an answer with a status and headers."""
    return cast("Any", Response(status, headers))


def a_refusal(status: int, code: str | None = None, **headers: str) -> HttpResponseError:
    """Build the error of an answer; `code` is the service's."""
    error = HttpResponseError(message=UPSTREAM_BODY, response=a_response(status, **headers))
    error.error_code = code  # type: ignore[attr-defined]
    return error
