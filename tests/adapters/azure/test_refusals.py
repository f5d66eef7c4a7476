"""What a vault's refusals are, by status, code and operation; and that nothing of their text leaves."""

import json
from dataclasses import replace
from typing import Any

import pytest

from core.adapters.azure import key_requests
from core.adapters.azure.key_requests import VaultRequest
from core.adapters.azure.refusals import Refusal, error_of, inner_code, refusal_in
from core.domain.connections import VaultFacts, VaultType
from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.new_keys import NewVersion, RotationPolicy, VersionChanges
from core.domain.secrets import SecretBytes
from core.errors import (
    ConflictError,
    KeystewardError,
    NotFoundError,
    PolicyViolationError,
    VaultAnswerError,
    VaultDeniedError,
    VaultOutcomeUnknownError,
    VaultUnavailableError,
)
from tests.fakes.vault import FACTS

NEW = NewVersion("EC", KeyKind(KeyFamily.EC, curve="P-256"), ("sign",))
CREATE = key_requests.create("k", NEW)
IMPORT = key_requests.import_transfer_blob("k", NEW, b"")
UPDATE = key_requests.update("k", "v", VersionChanges())
DELETE, RECOVER, PURGE = key_requests.delete("k"), key_requests.recover("k"), key_requests.purge("k")
RESTORE, BACK_UP = key_requests.restore(SecretBytes(b"b")), key_requests.back_up("k")
ROTATE, GET = key_requests.rotate("k"), key_requests.get_version("k", None)
POLICY = key_requests.set_rotation_policy("k", RotationPolicy(), VaultType.STANDARD)

PROTECTED = replace(FACTS, purge_protection=True)
ROLES = replace(FACTS, rbac=True)
POLICIES = replace(FACTS, rbac=False)
HSM = replace(FACTS, type=VaultType.MANAGED_HSM)


class Answer:
    """What is looked at of an SDK's response."""

    def __init__(self, status_code: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.status_code, self.content, self.headers = status_code, content, headers or {}


def read(status: int, body: object, **headers: str) -> Refusal:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer: Any = Answer(status, content, {name.replace("_", "-"): value for name, value in headers.items()})
    return refusal_in(answer)


def error(refusal: Refusal, request: VaultRequest, vault: VaultFacts = FACTS) -> KeystewardError:
    return error_of(refusal, request, vault)


def test_what_is_read_of_an_answer() -> None:
    body = {"error": {"code": "Forbidden", "message": "purge protection is on", "innererror": {"code": "Inner"}}}
    found = read(403, body, Retry_After="7")
    assert found == Refusal(403, "Forbidden", "Inner", about_purge_protection=True, retry_after=7.0)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[" * 100_000, [], {"error": None}, {"error": {"code": 1, "message": [], "innererror": "x"}}],
    ids=range(6),
)
def test_any_body_is_survived(body: object) -> None:
    assert read(409, body) == Refusal(409)
    answer: Any = Answer(409, b"")
    assert inner_code(answer) is None


@pytest.mark.parametrize(
    ("inner", "code"),
    [
        ("ObjectIsDeletedButRecoverable", "key_soft_deleted"),
        ("ObjectIsBeingDeleted", "key_being_deleted"),
        ("ObjectIsBeingRecovered", "key_being_recovered"),
        (None, "vault_conflict"),
        ("Else", "vault_conflict"),
    ],
)
@pytest.mark.parametrize("request_", [CREATE, IMPORT, UPDATE, DELETE, RECOVER, PURGE, RESTORE, ROTATE, POLICY])
def test_conflicts(request_: VaultRequest, inner: str | None, code: str) -> None:
    found = error(Refusal(409, "Conflict", inner), request_)
    assert (type(found), found.code) == (ConflictError, code)


def test_a_conflict_may_be_told_by_the_outer_code_alone() -> None:
    assert error(Refusal(409, "ObjectIsBeingDeleted"), CREATE).code == "key_being_deleted"


@pytest.mark.parametrize("request_", [CREATE, IMPORT, UPDATE, DELETE, RECOVER, PURGE, ROTATE, POLICY])
def test_what_the_vault_finds_wrong_in_a_change(request_: VaultRequest) -> None:
    found = error(Refusal(400, "BadParameter"), request_)
    assert (type(found), found.code) == (PolicyViolationError, "vault_refused")
    assert found.facts == {"azure_code": "BadParameter"}


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (RESTORE, 400, "restore_refused"),
        (BACK_UP, 400, "backup_refused"),
        (BACK_UP, 409, "backup_refused"),
        (GET, 400, "vault_answer_unusable"),
        (GET, 409, "vault_answer_unusable"),
        (UPDATE, 413, "vault_answer_unusable"),
        (DELETE, 302, "vault_answer_unusable"),
    ],
)
def test_what_no_retry_will_mend(request_: VaultRequest, status: int, code: str) -> None:
    found = error(Refusal(status, "Malformed backup blob"), request_)
    assert (type(found), found.code) == (VaultAnswerError, code)
    assert found.facts == {"azure_code": "Malformed backup blob"}


@pytest.mark.parametrize("code", ["secret/value", "a" * 65, "", "ü", "line\nbreak", "Bad\n"])
def test_a_code_of_another_form_does_not_leave(code: str) -> None:
    assert error(Refusal(400, code), CREATE).facts == {}


@pytest.mark.parametrize("request_", [GET, CREATE, DELETE, PURGE])
def test_nothing_there(request_: VaultRequest) -> None:
    found = error(Refusal(404, "KeyNotFound"), request_)
    assert (type(found), found.code) == (NotFoundError, "key_not_found")


@pytest.mark.parametrize(
    ("refusal", "vault", "code"),
    [
        (Refusal(403, "Forbidden"), PROTECTED, "purge_protected"),
        (Refusal(403, "Forbidden", "SomethingNew"), PROTECTED, "purge_protected"),
        (Refusal(403, "Forbidden", about_purge_protection=True), FACTS, "purge_protected"),
        (Refusal(403, "Forbidden"), FACTS, "vault_denied"),
        (Refusal(403, "Forbidden", "ForbiddenByRbac", about_purge_protection=True), PROTECTED, "vault_denied"),
        (Refusal(403, "Forbidden", "AccessDenied"), PROTECTED, "vault_denied"),
        (Refusal(403, "AccessDenied"), replace(HSM, purge_protection=True), "vault_denied"),
        (Refusal(401, "Unauthorized"), PROTECTED, "vault_denied"),
    ],
)
def test_a_purge_that_is_refused(refusal: Refusal, vault: VaultFacts, code: str) -> None:
    found = error(refusal, PURGE, vault)
    assert found.code == code
    assert isinstance(found, ConflictError if code == "purge_protected" else VaultDeniedError)


def test_purge_protection_concerns_purges_alone() -> None:
    assert error(Refusal(403, "Forbidden"), DELETE, PROTECTED).code == "vault_denied"


def test_a_certificates_key() -> None:
    found = error(Refusal(403, "Forbidden", "KeyManagedByKeyVault"), DELETE)
    assert (type(found), found.code) == (ConflictError, "key_managed")


@pytest.mark.parametrize(
    ("request_", "permission"),
    [
        (GET, "get"), (UPDATE, "update"), (CREATE, "create"), (IMPORT, "import"), (DELETE, "delete"),
        (RECOVER, "recover"), (BACK_UP, "backup"), (RESTORE, "restore"), (PURGE, "purge"), (ROTATE, "rotate"),
        (POLICY, "setrotationpolicy"), (key_requests.rotation_policy("k"), "getrotationpolicy"),
        (key_requests.page("/deletedkeys", ""), "list"),
    ],
)  # fmt: skip
def test_a_missing_permission_is_named(request_: VaultRequest, permission: str) -> None:
    for vault, way in ((ROLES, "role"), (POLICIES, "access policies")):
        found = error(Refusal(403, "Forbidden", "ForbiddenByPolicy"), request_, vault)
        assert isinstance(found, VaultDeniedError)
        assert way in found.detail
        assert permission in found.detail
        assert found.facts == {
            "cause": "access_denied",
            "operation": permission,
            "key_permission": permission,
            "azure_code": "ForbiddenByPolicy",
        }


@pytest.mark.parametrize(
    ("request_", "role"),
    [
        (CREATE, "Managed HSM Crypto User"),
        (RESTORE, "Managed HSM Crypto User"),
        (key_requests.page("/keys", ""), "Managed HSM Crypto User"),
        (PURGE, "Managed HSM Crypto Officer"),
        (RECOVER, "Managed HSM Crypto Officer"),
        (key_requests.get_deleted("k"), "Managed HSM Crypto Officer"),
        (key_requests.page("/deletedkeys", ""), "Managed HSM Crypto Officer"),
    ],
)
def test_a_missing_local_role_is_named(request_: VaultRequest, role: str) -> None:
    found = error(Refusal(403, "AccessDenied"), request_, HSM)
    assert isinstance(found, VaultDeniedError)
    assert found.facts["local_role"] == role
    assert "key_permission" not in found.facts
    assert "local RBAC" in found.detail


@pytest.mark.parametrize(
    ("refusal", "cause"),
    [(Refusal(403, "Forbidden", "ForbiddenByFirewall"), "firewall"), (Refusal(401, "Unauthorized"), "access_denied")],
)
def test_a_refusal_that_no_permission_mends_names_none(refusal: Refusal, cause: str) -> None:
    found = error(refusal, CREATE)
    assert isinstance(found, VaultDeniedError)
    assert (found.facts["cause"], found.facts["operation"]) == (cause, "create")
    assert "key_permission" not in found.facts


@pytest.mark.parametrize("status", [201, 202, 408, 500, 502, 503, 504])
def test_of_what_is_sent_once_a_failing_answer_leaves_the_outcome_open(status: int) -> None:
    found = error(Refusal(status, retry_after=9.0), ROTATE)
    assert (type(found), found.code) == (VaultOutcomeUnknownError, "vault_outcome_unknown")
    assert isinstance(found, VaultOutcomeUnknownError)
    assert found.retry_after.total_seconds() == 9.0
    assert found.facts == {"cause": "service_failed", "operation": "rotate"}


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [(UPDATE, 500, "vault_unavailable"), (DELETE, 408, "vault_timeout"), (ROTATE, 429, "vault_throttled")],
)
def test_what_is_worth_a_retry(request_: VaultRequest, status: int, code: str) -> None:
    found = error(Refusal(status), request_)
    assert (type(found), found.code) == (VaultUnavailableError, code)
