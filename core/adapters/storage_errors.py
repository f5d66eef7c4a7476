"""Errors of the storage SDKs in our terms; every call to storage is made inside `storage_errors`.

Invariant: neither the message nor the cause of what is raised holds the body of an upstream answer; only its status
and its error code, which are from a published list, survive.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from core.errors import (
    AlreadyExistsError,
    KeystewardError,
    NotFoundError,
    StaleWriteError,
    VaultAnswerError,
    VaultDeniedError,
    VaultUnavailableError,
)

#: The place is missing, not the thing in it: answering "not found" would hide the loss of everything.
_MISSING_PLACES = frozenset(
    {"TableNotFound", "ContainerNotFound", "QueueNotFound"}
    | {"TableBeingDeleted", "ContainerBeingDeleted", "QueueBeingDeleted"}
)
_TEMPORARY = frozenset({408, 429})
_SERVER_ERRORS = 500
_RETRY_AFTER = timedelta(seconds=5)


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Raise what a block's SDK error means for `what` (a noun for people, as "The record")."""
    try:
        yield
    except AzureError as error:
        raise translated(error, what) from None


def translated(error: AzureError, what: str) -> KeystewardError:
    """Return the error of core.errors that an SDK error stands for."""
    if isinstance(error, ClientAuthenticationError):
        return _denied()
    if not isinstance(error, HttpResponseError) or error.status_code is None:
        return _unavailable("Storage cannot be reached.", _RETRY_AFTER)
    return _by_status(error, error.status_code, what)


def error_code(error: HttpResponseError) -> str:
    """Return the service's code for an error, or "" where it gave none."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code or ""))


def missing_place() -> VaultAnswerError:
    """Say that a table, container or queue is gone."""
    return VaultAnswerError("Storage lacks a table, container or queue of this app.", code="storage_incomplete")


def _by_status(error: HttpResponseError, status: int, what: str) -> KeystewardError:
    if status in _TEMPORARY or status >= _SERVER_ERRORS:
        return _unavailable("Storage is busy or failing.", _retry_after(error))
    if error_code(error) in _MISSING_PLACES:
        return missing_place()
    match status:
        case 404:
            meaning: KeystewardError = NotFoundError(f"{what} does not exist.")
        case 409:
            meaning = AlreadyExistsError(f"{what} exists already.")
        case 412:
            meaning = StaleWriteError(what)
        case 401 | 403:
            meaning = _denied()
        case _:
            meaning = _refused(status, error_code(error))
    return meaning


def _denied() -> VaultDeniedError:
    return VaultDeniedError("Storage refused this app's identity.", code="storage_denied")


def _refused(status: int, code: str) -> VaultAnswerError:
    return VaultAnswerError(
        "Storage refused a request that should have been right.",
        code="storage_refused",
        facts={"service_status": status, "service_code": code},
    )


def _unavailable(detail: str, retry_after: timedelta) -> VaultUnavailableError:
    return VaultUnavailableError(detail, code="storage_unavailable", retry_after=retry_after)


def _retry_after(error: HttpResponseError) -> timedelta:
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    seconds = headers.get("Retry-After", "")
    return timedelta(seconds=int(seconds)) if seconds.isdecimal() else _RETRY_AFTER
