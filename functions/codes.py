"""Every stable code of the API: which family it belongs to, and what it means; and which codes an operation may give.

Invariant: a code that is raised anywhere is in this table, and no other is (a test compares them).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from core.domain.permissions import Permission
from core.errors import (
    AlreadyExistsError,
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
    VaultUnavailableError,
)
from core.services.idempotency import IdempotencyInProgressError
from functions.key_codes import KEY_CODES
from functions.operations import Openness, Operation, Precondition
from functions.problems import (
    BodyTooLargeError,
    InternalError,
    PreconditionRequiredError,
    UnsupportedMediaTypeError,
)


@dataclass(frozen=True, slots=True)
class Code:
    """A code's family, which decides the HTTP status, and its meaning."""

    family: type[KeystewardError]
    meaning: str


# fmt: off
CODES: Mapping[str, Code] = MappingProxyType({
    "invalid_request": Code(InvalidRequestError, "The request is malformed; the detail says how."),
    "malformed_json": Code(InvalidRequestError, "The body is not acceptable JSON; the detail says why."),
    "missing_body": Code(InvalidRequestError, "The operation needs a body."),
    "unexpected_body": Code(InvalidRequestError, "The operation takes no body."),
    "missing_field": Code(InvalidRequestError, "A required field or parameter is not there."),
    "unknown_field": Code(InvalidRequestError, "A field or parameter that the operation does not know."),
    "invalid_field": Code(InvalidRequestError, "A field's or parameter's value is not acceptable."),
    "invalid_header": Code(InvalidRequestError, "A header's value is not acceptable."),
    "invalid_cursor": Code(InvalidRequestError, "`next` is not one that this list gave out."),
    "body_too_large": Code(BodyTooLargeError, "The body has more than 1 MiB, or its file more than 64 KiB."),
    "unsupported_media_type": Code(
        UnsupportedMediaTypeError, "The body is not declared as JSON, or is a form where none is taken."
    ),
    "upload_malformed": Code(InvalidRequestError, "A form with a file is cut off, or not well-formed."),
    "idempotency_not_offered": Code(
        InvalidRequestError, "The operation's answer is not kept: it takes no Idempotency-Key."
    ),
    "precondition_required": Code(PreconditionRequiredError, "The update came without If-Match."),
    "title_invalid": Code(InvalidRequestError, "A title is empty, too long, or holds unprintable characters."),
    "guid_invalid": Code(InvalidRequestError, "A tenant or object id is not a GUID."),
    "email_invalid": Code(InvalidRequestError, "This is not an e-mail address."),
    "email_outside_home_tenant": Code(InvalidRequestError, "Users of other tenants are added by object id."),
    "expiry_invalid": Code(InvalidRequestError, "The expiry has passed."),
    "overlap_invalid": Code(InvalidRequestError, "The overlap of an API key's rotation is out of bounds."),
    "group_unknown": Code(InvalidRequestError, "A group named in the body does not exist."),
    "connection_invalid": Code(InvalidRequestError, "A member of a connection is missing, too many, or malformed."),
    "secret_required": Code(InvalidRequestError, "A change of CA or proxy needs the secret that would pass there."),
    "group_invalid": Code(InvalidRequestError, "A group's members do not go together, or one is out of bounds."),
    "extra_unknown": Code(InvalidRequestError, "A permission in `extra` is not one that is given beside a role."),
    "extra_for_auditor": Code(InvalidRequestError, "An auditor gets no permission beside the role."),
    "role_for_applications": Code(InvalidRequestError, "Only an application can have the role `application`."),
    "role_for_auditor": Code(InvalidRequestError, "An auditor of the account has no other role in a group."),
    "schedule_invalid": Code(InvalidRequestError, "The cron expression or the time zone is not valid."),

    "not_authenticated": Code(NotAuthenticatedError, "Nobody is signed in, and there is no API key."),
    "ambiguous_credentials": Code(NotAuthenticatedError, "The request proves two identities at once."),
    "principal_unusable": Code(NotAuthenticatedError, "The platform's identity names no tenant and object."),
    "api_key_invalid": Code(NotAuthenticatedError, "The API key is malformed, unknown or wrong."),
    "api_key_revoked": Code(NotAuthenticatedError, "The API key was revoked."),
    "api_key_expired": Code(NotAuthenticatedError, "The API key has expired."),
    "application_disabled": Code(NotAuthenticatedError, "The application is disabled."),

    "not_permitted": Code(NotPermittedError, "The caller sees the object but lacks the permission that is named."),

    "not_found": Code(NotFoundError, "There is no such thing for this caller."),
    "account_not_found": Code(NotFoundError, "There is no such account for this caller."),
    "member_not_found": Code(NotFoundError, "There is no such member."),
    "application_not_found": Code(NotFoundError, "There is no such application."),
    "api_key_not_found": Code(NotFoundError, "There is no such API key."),
    "principal_not_found": Code(NotFoundError, "There is no such member or application."),
    "group_not_found": Code(NotFoundError, "There is no such group for this caller."),
    "group_member_not_found": Code(NotFoundError, "There is no such member of the group."),
    "vault_not_found": Code(NotFoundError, "The vault is not, or no longer, in the subscription."),
    "key_not_found": Code(NotFoundError, "There is no such key for this caller."),
    "job_not_found": Code(NotFoundError, "There is no such job for this caller."),

    "conflict": Code(ConflictError, "The object's state does not allow this."),
    "already_exists": Code(AlreadyExistsError, "There is something with this identity already."),
    "member_exists": Code(AlreadyExistsError, "The identity is in the account already."),
    "identity_in_use": Code(ConflictError, "The service principal is somebody in the account already."),
    "last_admin": Code(ConflictError, "An account keeps at least one admin."),
    "api_key_not_active": Code(ConflictError, "Only an API key that is active can be rotated."),
    "group_kind": Code(ConflictError, "Groups of this kind do not offer this."),
    "group_not_empty": Code(ConflictError, "The group holds keys."),
    "field_fixed": Code(ConflictError, "Cloud, subscription and vault of a group never change."),
    "not_connected": Code(ConflictError, "The connection does not work; `cause` says why."),
    "vault_not_offered": Code(ConflictError, "The connection shows no vault with this resource id."),
    "vault_already_linked": Code(ConflictError, "Another group of the account is linked to this vault."),
    "record_contended": Code(ConflictError, "A record kept changing while it was written."),
    "vault_not_selected": Code(ConflictError, "The group has no vault yet."),
    "job_ended": Code(ConflictError, "The job has ended already."),
    "job_transition": Code(ConflictError, "The job's status does not allow this."),
    "idempotency_in_progress": Code(IdempotencyInProgressError, "The same request is being worked on."),

    "stale_write": Code(StaleWriteError, "The object changed since it was read."),

    "policy_violation": Code(PolicyViolationError, "A policy refuses this."),
    "identity_not_offered": Code(
        PolicyViolationError, "The deployment does not lend this identity to the account, or not this way."
    ),
    "record_too_large": Code(PolicyViolationError, "What is to be recorded is larger than a row can be."),
    "idempotency_key_reused": Code(PolicyViolationError, "The idempotency key was used for another request."),

    "vault_denied": Code(VaultDeniedError, "A service of Azure refused Keysteward's identity, or the group's."),
    "sealing_key_denied": Code(VaultDeniedError, "The platform vault refused the use of the sealing key."),
    "storage_denied": Code(VaultDeniedError, "The storage account refused Keysteward's identity."),
    "vault_answer_unusable": Code(VaultAnswerError, "A service of Azure answered with something unusable."),
    "sealing_key_unusable": Code(VaultAnswerError, "The platform vault refused a request of the sealing key."),
    "storage_refused": Code(VaultAnswerError, "Storage refused a request that should have been right."),
    "storage_incomplete": Code(VaultAnswerError, "A table, container or queue of the storage account is gone."),
    "vault_answer_malformed": Code(VaultAnswerError, "A vault's answer does not have the form that Azure documents."),
    "vault_unavailable": Code(VaultUnavailableError, "A service of Azure cannot be reached, throttles or fails."),
    "vault_throttled": Code(VaultUnavailableError, "A service of Azure answers that there are too many requests."),
    "vault_timeout": Code(VaultUnavailableError, "A service of Azure did not answer in time."),
    "sealing_key_unavailable": Code(VaultUnavailableError, "The platform vault cannot be reached."),
    "storage_unavailable": Code(VaultUnavailableError, "The storage account cannot be reached, throttles or fails."),

    "integrity": Code(IntegrityError, "Stored bytes are not what was stored."),
    "record_unreadable": Code(IntegrityError, "A stored record cannot be read back."),
    "blob_too_short": Code(IntegrityError, "A stored blob is shorter than what was stored."),
    "index_damaged": Code(IntegrityError, "An index refers to a node that does not exist."),
    "data_key_unavailable": Code(IntegrityError, "A data key cannot be unwrapped."),
    "sealed_object_altered": Code(IntegrityError, "A sealed object is not what was sealed."),
    "sealed_object_misplaced": Code(IntegrityError, "A sealed object is not where it belongs."),
    "escrow_missing": Code(IntegrityError, "An escrow archive is missing."),
    "escrow_altered": Code(IntegrityError, "An escrow entry is not what was stored."),
    "escrow_unreadable": Code(IntegrityError, "An escrow entry cannot be read."),
    "internal": Code(InternalError, "Something unexpected. The log has more under the correlation id."),
    **{name: Code(*code) for name, code in KEY_CODES.items()},
})
# fmt: on


def codes_of(operation: Operation) -> tuple[str, ...]:
    """Return the codes that `operation` may answer with, without those that only a broken platform gives."""
    return tuple(dict.fromkeys([*_common(operation), *operation.errors]))


def _common(operation: Operation) -> Iterator[str]:
    yield from ("internal", "unknown_field")
    if operation.needs is not Openness.PUBLIC:
        yield from ("not_authenticated", "ambiguous_credentials", "principal_unusable")
        yield from ("api_key_invalid", "api_key_revoked", "api_key_expired", "application_disabled")
        yield from ("storage_unavailable", "sealing_key_unavailable")
    if isinstance(operation.needs, Permission):
        yield "not_permitted"
    yield from (f"{parameter}_not_found" for parameter in operation.parameters)
    if operation.query.model_fields:
        yield "invalid_field"
    if "next" in operation.query.model_fields:
        yield "invalid_cursor"
    if operation.method != "GET":
        yield from _of_write(operation)
    if operation.precondition is not Precondition.NONE:
        yield from ("stale_write", "invalid_header")
    if operation.precondition is Precondition.REQUIRED:
        yield "precondition_required"
    if operation.idempotent:
        yield from ("idempotency_in_progress", "idempotency_key_reused", "invalid_header")


def _of_write(operation: Operation) -> Iterator[str]:
    yield from ("malformed_json", "body_too_large", "unsupported_media_type")
    yield from ("unexpected_body",) if operation.body is None else ("missing_field", "invalid_field")
    if operation.body is not None and not operation.body_optional:
        yield "missing_body"
    if operation.upload is not None:
        yield "upload_malformed"
    if not operation.kept:
        yield "idempotency_not_offered"
