"""What a vault answers instead of doing what it was asked, as errors of `core.errors`.

Invariants: every sentence is our own; of an upstream body the two codes are read, and the message only for the words
"purge protection", which no code says; a code leaves as the fact `azure_code`, and only in a form that can carry
nothing else.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from azure.core.rest import AsyncHttpResponse

from core.adapters.azure.failures import Failure, refusal_of
from core.adapters.azure.key_requests import VaultRequest
from core.adapters.azure.rate_limit import retry_after
from core.adapters.azure.retries import may_be_done
from core.domain.connections import ConnectionCause, VaultFacts, VaultType
from core.domain.rate_limits import VaultOperation
from core.errors import (
    ConflictError,
    KeystewardError,
    NotFoundError,
    PolicyViolationError,
    VaultAnswerError,
    VaultDeniedError,
    VaultOutcomeUnknownError,
)

_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _CONFLICT = 400, 401, 403, 404, 409
_HARMLESS_CODE = re.compile(r"[A-Za-z0-9 .]{1,64}")
#: Codes of a 403 that is about the identity, whatever it asked for.
ACCESS_CODES = frozenset(
    {"AccessDenied", "ForbiddenByPolicy", "ForbiddenByRbac", "ForbiddenByFirewall", "ForbiddenByConnection"}
)
_USER, _OFFICER = "Managed HSM Crypto User", "Managed HSM Crypto Officer"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is read of an answer that is no success. `retry_after` is in seconds."""

    status: int
    code: str | None = None
    inner_code: str | None = None
    about_purge_protection: bool = False
    retry_after: float | None = None

    @property
    def codes(self) -> frozenset[str | None]:
        """Both codes: services put the telling one in either place."""
        return frozenset({self.code, self.inner_code})

    @property
    def facts(self) -> Mapping[str, object]:
        """The more telling code, where it has a harmless form."""
        code = self.inner_code or self.code
        return {"azure_code": code} if code is not None and _HARMLESS_CODE.fullmatch(code) else {}


def refusal_in(response: AsyncHttpResponse) -> Refusal:
    """Read an answer that is no success, whatever its body holds."""
    error = _member(_json(response.content), "error")
    message = _member(error, "message")
    return Refusal(
        status=response.status_code,
        code=_text(_member(error, "code")),
        inner_code=_text(_member(_member(error, "innererror"), "code")),
        about_purge_protection="purge protection" in message if isinstance(message, str) else False,
        retry_after=retry_after(response.headers),
    )


def inner_code(response: AsyncHttpResponse) -> str | None:
    """Return `error.innererror.code` of an answer, or None where it has none."""
    return refusal_in(response).inner_code


def error_of(refusal: Refusal, request: VaultRequest, vault: VaultFacts) -> KeystewardError:
    """Return the error that a vault's refusal of a request is."""
    if refusal.status == _NOT_FOUND:
        return key_not_found()
    if refusal.status in {_UNAUTHORIZED, _FORBIDDEN}:
        return _state_of_the_key(refusal, request, vault) or _denied(refusal, request, vault)
    if request.once and may_be_done(refusal.status):
        failed = Failure(ConnectionCause.SERVICE_FAILED, retry_after=refusal.retry_after)
        return outcome_unknown(request, failed, answered=True)
    failure = refusal_of(refusal.status, refusal.inner_code, refusal.retry_after)
    if failure is not None:
        return failure.error()
    if request.changes and refusal.status == _CONFLICT:
        return _conflict(refusal)
    return _refused(refusal, request)


def key_not_found() -> NotFoundError:
    """Return the error for a key, version or soft-deleted key that is not there."""
    return NotFoundError("The vault has no such key or version.", code="key_not_found")


def outcome_unknown(request: VaultRequest, failure: Failure, *, answered: bool) -> VaultOutcomeUnknownError:
    """Return the error for a request that is sent once, and whose answer does not tell what became of it."""
    return VaultOutcomeUnknownError(
        "The vault did not say what became of the request. It may have made a version, or may still make it.",
        code="vault_outcome_unknown",
        retry_after=timedelta(seconds=failure.retry_after or 30),
        facts={"cause": failure.cause.value, "operation": request.operation.value},
        answered=answered,
    )


def _state_of_the_key(refusal: Refusal, request: VaultRequest, vault: VaultFacts) -> ConflictError | None:
    if "KeyManagedByKeyVault" in refusal.codes:
        return ConflictError(
            "The key belongs to a certificate of the vault, and lives and ends with it.", code="key_managed"
        )
    if request.operation is not VaultOperation.PURGE or refusal.status != _FORBIDDEN or ACCESS_CODES & refusal.codes:
        return None
    if not vault.purge_protection and not refusal.about_purge_protection:
        return None
    return ConflictError(
        "The vault has purge protection: it keeps a deleted key until its retention ends.", code="purge_protected"
    )


def _denied(refusal: Refusal, request: VaultRequest, vault: VaultFacts) -> VaultDeniedError:
    failure = refusal_of(refusal.status, refusal.inner_code, None) or Failure(ConnectionCause.ACCESS_DENIED)
    facts: dict[str, object] = {
        "cause": failure.cause.value,
        "operation": request.operation.value,
        **refusal.facts,
    }
    if failure.cause is not ConnectionCause.ACCESS_DENIED or refusal.status != _FORBIDDEN:
        return VaultDeniedError(failure.error().detail, facts=facts)
    if vault.type is VaultType.MANAGED_HSM:
        role = _OFFICER if request.about_deleted else _USER
        detail = f"The identity may not do this. Managed HSMs use local RBAC roles: '{role}' has the permission."
        return VaultDeniedError(detail, facts={**facts, "local_role": role})
    permission = request.operation.value
    way = "a role such as 'Key Vault Crypto Officer'" if vault.rbac else "the vault's access policies"
    detail = f"The identity lacks the key permission '{permission}', which {way} can grant."
    return VaultDeniedError(detail, facts={**facts, "key_permission": permission})


def _conflict(refusal: Refusal) -> ConflictError:
    if "ObjectIsDeletedButRecoverable" in refusal.codes:
        return ConflictError("The name belongs to a soft-deleted key: recover or purge it.", code="key_soft_deleted")
    if "ObjectIsBeingDeleted" in refusal.codes:
        return ConflictError("The vault is still deleting or purging the key.", code="key_being_deleted")
    if "ObjectIsBeingRecovered" in refusal.codes:
        return ConflictError("The vault is still recovering the key.", code="key_being_recovered")
    detail = "The vault's state does not allow this: the name is taken, or something else is under way with the key."
    return ConflictError(detail, code="vault_conflict", facts=refusal.facts)


def _refused(refusal: Refusal, request: VaultRequest) -> KeystewardError:
    detail = f"The vault refuses the operation '{request.operation}' with status {refusal.status}."
    if request.operation is VaultOperation.BACK_UP:
        return VaultAnswerError(detail, code="backup_refused", facts=refusal.facts)
    if refusal.status == _BAD_REQUEST and request.operation is VaultOperation.RESTORE:
        return VaultAnswerError("The vault does not take this backup.", code="restore_refused", facts=refusal.facts)
    if refusal.status == _BAD_REQUEST and request.changes:
        return PolicyViolationError(
            "The vault finds something in the request that it does not accept.",
            code="vault_refused",
            facts=refusal.facts,
        )
    return VaultAnswerError(detail, facts=refusal.facts)


def _json(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
