"""Every error that may leave a service, by family.

Invariants:
- `code` is stable: clients branch on it, and docs/errors.md documents each one.
- A message never holds key material, a secret, a token, or the body of an upstream answer.
- `functions/problems.py` is the only place that turns a family into an HTTP status.
"""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import ClassVar

_NO_FACTS: Mapping[str, object] = MappingProxyType({})


class KeystewardError(Exception):
    """Base of all families: a stable `code`, a sentence for people, and typed facts for programs."""

    default_code: ClassVar[str] = "internal"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        field: str | None = None,
        facts: Mapping[str, object] = _NO_FACTS,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.field = field
        self.facts = facts


class InvalidRequestError(KeystewardError):
    """The request is malformed: body, name, parameter or key material."""

    default_code = "invalid_request"


class NotAuthenticatedError(KeystewardError):
    """Nobody, or nobody known, is calling."""

    default_code = "not_authenticated"


class NotPermittedError(KeystewardError):
    """The caller sees the object but lacks `permission` on it."""

    default_code = "not_permitted"

    def __init__(self, permission: str) -> None:
        super().__init__(f"This needs the permission '{permission}'.", facts={"permission": permission})


class NotFoundError(KeystewardError):
    """The object does not exist for this caller."""

    default_code = "not_found"


class ConflictError(KeystewardError):
    """The object's state does not allow this now."""

    default_code = "conflict"


class AlreadyExistsError(ConflictError):
    """Something with this identity is there already."""

    default_code = "already_exists"


class StaleWriteError(KeystewardError):
    """The object changed since it was read: its ETag moved."""

    default_code = "stale_write"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} changed since it was read. Read it again and repeat the change.")


class PolicyViolationError(KeystewardError):
    """A policy, or the protocol around a write, refuses a well-formed request."""

    default_code = "policy_violation"


class VaultDeniedError(KeystewardError):
    """A service of Azure refused our identity; never the caller's own 401 or 403."""

    default_code = "vault_denied"


class VaultUnavailableError(KeystewardError):
    """A service of Azure cannot be reached, throttles or fails; worth a retry after `retry_after`."""

    default_code = "vault_unavailable"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        retry_after: timedelta = timedelta(seconds=30),
        facts: Mapping[str, object] = _NO_FACTS,
    ) -> None:
        super().__init__(detail, code=code, facts=facts)
        self.retry_after = retry_after


class VaultOutcomeUnknownError(VaultUnavailableError):
    """A request that must not be sent twice got no answer that tells: the vault may have done it.

    Unless it was `answered`, if only by a failure, the vault may also do it later.
    """

    default_code = "vault_outcome_unknown"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        retry_after: timedelta = timedelta(seconds=30),
        facts: Mapping[str, object] = _NO_FACTS,
        answered: bool = False,
    ) -> None:
        super().__init__(detail, code=code, retry_after=retry_after, facts=facts)
        self.answered = answered


class VaultAnswerError(KeystewardError):
    """A service of Azure answered with something that no retry will mend: a malformed page, an unexpected refusal."""

    default_code = "vault_answer_unusable"


class IntegrityError(KeystewardError):
    """Stored bytes are not what was stored. Alert; a retry cannot help."""

    default_code = "integrity"
