"""Problems: each family its status, RFC 9457 members, headers that the status demands."""

import inspect
from datetime import timedelta

import pytest

from core import errors
from core.errors import KeystewardError
from core.services.idempotency import IdempotencyInProgressError
from functions import problems


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidRequestError("x"), 400),
        (errors.NotAuthenticatedError("x"), 401),
        (errors.NotPermittedError("key.purge"), 403),
        (errors.NotFoundError("x"), 404),
        (errors.ConflictError("x"), 409),
        (errors.AlreadyExistsError("x"), 409),
        (IdempotencyInProgressError(timedelta(seconds=3)), 409),
        (errors.StaleWriteError("x"), 412),
        (problems.BodyTooLargeError("x"), 413),
        (problems.UnsupportedMediaTypeError("x"), 415),
        (errors.PolicyViolationError("x"), 422),
        (problems.PreconditionRequiredError("x"), 428),
        (errors.IntegrityError("x"), 500),
        (problems.InternalError("x"), 500),
        (errors.VaultDeniedError("x"), 502),
        (errors.VaultAnswerError("x"), 502),
        (errors.VaultUnavailableError("x"), 503),
    ],
)
def test_each_family_has_its_status(error: KeystewardError, status: int) -> None:
    problem = problems.problem_of(error, "correlation")
    assert problem["status"] == status
    assert {"type", "title", "detail", "code", "correlation_id"} <= problem.keys()
    assert problem["type"] == f"/api/v1/docs#code-{error.code}"


def test_no_family_is_without_a_status() -> None:
    families = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, KeystewardError)]
    assert len(families) > 10
    assert [each for each in families if each not in problems.STATUS and each is not errors.AlreadyExistsError] == []


def test_facts_stand_beside_the_members_and_replace_none() -> None:
    error = errors.ConflictError("Taken.", code="name_taken", field="name", facts={"holder": "key_x", "status": 200})
    problem = problems.problem_of(error, "c")
    assert (problem["holder"], problem["status"], problem["field"]) == ("key_x", 409, "name")


def test_headers_say_when_to_come_back_and_how_to_authenticate() -> None:
    busy = errors.VaultUnavailableError("x", retry_after=timedelta(milliseconds=200))
    assert problems.headers_of(busy) == {"Retry-After": "1"}
    assert problems.headers_of(IdempotencyInProgressError(timedelta(seconds=3))) == {"Retry-After": "3"}
    assert problems.headers_of(errors.NotAuthenticatedError("x"))["WWW-Authenticate"].startswith("Bearer")
