"""Errors as RFC 9457 problems: the only place that turns an error's family into an HTTP status.

Invariants: an unknown exception becomes a bare `internal` problem, because its text may be sensitive; a problem never
holds the input that it complains about.
"""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from core.errors import (
    ConflictError,
    IntegrityError,
    InvalidRequestError,
    KeystewardError,
    NotAuthenticatedError,
    NotFoundError,
    NotPermittedError,
    PolicyViolationError,
    StaleWriteError,
    VaultAnswerError,
    VaultDeniedError,
    VaultOutcomeUnknownError,
    VaultUnavailableError,
)

MEDIA_TYPE = "application/problem+json"
# The reference page that is served beside the API has an anchor for each code.
_DOCS = "/api/v1/docs"


class BodyTooLargeError(InvalidRequestError):
    """The request's body is larger than any operation takes."""

    default_code = "body_too_large"


class UnsupportedMediaTypeError(InvalidRequestError):
    """The request's body is not JSON."""

    default_code = "unsupported_media_type"


class PreconditionRequiredError(InvalidRequestError):
    """An update came without the ETag of what it updates."""

    default_code = "precondition_required"


class InternalError(KeystewardError):
    """What a caller sees of an exception that nobody expected."""

    default_code = "internal"


#: The most specific family counts; `KeystewardError` itself stands for everything unexpected.
STATUS: Mapping[type[KeystewardError], int] = MappingProxyType(
    {
        BodyTooLargeError: 413,
        UnsupportedMediaTypeError: 415,
        PreconditionRequiredError: 428,
        InvalidRequestError: 400,
        NotAuthenticatedError: 401,
        NotPermittedError: 403,
        NotFoundError: 404,
        ConflictError: 409,
        StaleWriteError: 412,
        PolicyViolationError: 422,
        VaultDeniedError: 502,
        VaultAnswerError: 502,
        VaultUnavailableError: 503,
        VaultOutcomeUnknownError: 503,
        IntegrityError: 500,
        KeystewardError: 500,
    }
)

TITLES: Mapping[int, str] = MappingProxyType(
    {
        400: "The request is malformed",
        401: "The caller is not known",
        403: "The caller may not do this",
        404: "There is no such thing",
        409: "The object's state does not allow this",
        412: "The object changed in the meantime",
        413: "The body is too large",
        415: "The body is not JSON",
        422: "The request is refused",
        428: "An If-Match header is needed",
        500: "Something went wrong here",
        502: "Azure refused, or answered with something unusable",
        503: "Azure is not available at the moment",
    }
)


def status_of(family: type[KeystewardError]) -> int:
    """Return the HTTP status of an error family."""
    return next(STATUS[base] for base in family.__mro__ if base in STATUS)


def documentation_of(code: str) -> str:
    """Return the problem type: where `code` is documented."""
    return f"{_DOCS}#code-{code}"


def problem_of(error: KeystewardError, correlation_id: str) -> dict[str, object]:
    """Return the problem's members; the error's facts stand beside the standard ones and never replace them."""
    status = status_of(type(error))
    members: dict[str, object] = {
        "type": documentation_of(error.code),
        "title": TITLES[status],
        "status": status,
        "detail": error.detail,
        "code": error.code,
        "correlation_id": correlation_id,
    }
    if error.field is not None:
        members["field"] = error.field
    return {**error.facts, **members}


def headers_of(error: KeystewardError) -> dict[str, str]:
    """Return the headers that an error demands: how to authenticate, or when to come back."""
    headers = {}
    if isinstance(error, NotAuthenticatedError):
        headers["WWW-Authenticate"] = 'Bearer realm="keysteward"'
    retry_after = getattr(error, "retry_after", None)
    if isinstance(retry_after, timedelta):
        headers["Retry-After"] = str(max(1, round(retry_after.total_seconds())))
    return headers
