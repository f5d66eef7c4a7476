"""What the SDKs' errors become."""

import logging
from datetime import timedelta
from http import HTTPStatus

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseTimeoutError,
)

from core.adapters.storage_errors import storage_errors
from core.errors import (
    AlreadyExistsError,
    KeystewardError,
    NotFoundError,
    StaleWriteError,
    VaultAnswerError,
    VaultDeniedError,
    VaultUnavailableError,
)
from tests.builders.storage import UPSTREAM_BODY, a_refusal


def meaning_of(error: AzureError) -> KeystewardError:
    with pytest.raises(KeystewardError) as raised, storage_errors("The record"):
        raise error
    return raised.value


@pytest.mark.parametrize(
    ("error", "family", "code"),
    [
        (a_refusal(404), NotFoundError, "not_found"),
        (a_refusal(404, "ResourceNotFound"), NotFoundError, "not_found"),
        (a_refusal(404, "TableNotFound"), VaultAnswerError, "storage_incomplete"),
        (a_refusal(404, "ContainerNotFound"), VaultAnswerError, "storage_incomplete"),
        (a_refusal(409, "TableBeingDeleted"), VaultAnswerError, "storage_incomplete"),
        (a_refusal(409, "EntityAlreadyExists"), AlreadyExistsError, "already_exists"),
        (a_refusal(412), StaleWriteError, "stale_write"),
        (a_refusal(401), VaultDeniedError, "storage_denied"),
        (a_refusal(403, "AuthorizationPermissionMismatch"), VaultDeniedError, "storage_denied"),
        (ClientAuthenticationError("no token"), VaultDeniedError, "storage_denied"),
        (a_refusal(408), VaultUnavailableError, "storage_unavailable"),
        (a_refusal(429), VaultUnavailableError, "storage_unavailable"),
        (a_refusal(500, "OperationTimedOut"), VaultUnavailableError, "storage_unavailable"),
        (a_refusal(503, "ServerBusy"), VaultUnavailableError, "storage_unavailable"),
        (ServiceRequestError("no route"), VaultUnavailableError, "storage_unavailable"),
        (ServiceResponseTimeoutError("timeout"), VaultUnavailableError, "storage_unavailable"),
        (IncompleteReadError("cut"), VaultUnavailableError, "storage_unavailable"),
        (a_refusal(400, "InvalidInput"), VaultAnswerError, "storage_refused"),
        (a_refusal(413, "RequestBodyTooLarge"), VaultAnswerError, "storage_refused"),
    ],
)
def test_families(error: AzureError, family: type[KeystewardError], code: str) -> None:
    meaning = meaning_of(error)
    assert type(meaning) is family
    assert meaning.code == code


@pytest.mark.parametrize(("header", "seconds"), [("17", 17), ("0", 0), ("soon", 5), (None, 5)])
def test_the_services_wish_to_wait_is_passed_on(header: str | None, seconds: int) -> None:
    headers = {} if header is None else {"Retry-After": header}
    meaning = meaning_of(a_refusal(503, **headers))
    assert isinstance(meaning, VaultUnavailableError)
    assert meaning.retry_after == timedelta(seconds=seconds)


def test_a_refusal_says_what_the_service_called_it() -> None:
    assert meaning_of(a_refusal(400, "InvalidInput")).facts == {"service_status": 400, "service_code": "InvalidInput"}


@pytest.mark.parametrize("status", [HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE])
def test_a_log_shows_nothing_of_the_upstream_answer(status: int, caplog: pytest.LogCaptureFixture) -> None:
    try:
        with storage_errors("The record"):
            raise a_refusal(status)
    except KeystewardError:
        logging.getLogger("test").exception("failed")
    assert "Traceback" in caplog.text
    assert UPSTREAM_BODY not in caplog.text


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="ours"), storage_errors("The record"):
        raise ValueError("ours")
