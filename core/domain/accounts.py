"""Accounts, their members and applications, and the API keys of applications."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class AccountRole(StrEnum):
    """A member's role in the account. Applications have none."""

    ADMIN = "admin"
    MEMBER = "member"
    AUDITOR = "auditor"


class GroupRole(StrEnum):
    """A principal's role in one group."""

    ADMIN = "admin"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    APPLICATION = "application"


class PrincipalKind(StrEnum):
    """What a principal is."""

    USER = "user"
    APPLICATION = "application"


@dataclass(frozen=True, slots=True)
class Account:
    """The top-level container; accounts see nothing of each other."""

    id: str
    title: str
    created_on: datetime
    data_key: str


@dataclass(frozen=True, slots=True)
class GroupGrant:
    """A role in a group, and the destructive permissions given beside it (their names)."""

    role: GroupRole
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Principal:
    """A member or application of one account, with everything that access decisions need in one row.

    A user invited by e-mail has no `object_id` until the first sign-in from the home tenant binds one.
    """

    id: str
    account: str
    kind: PrincipalKind
    name: str
    created_on: datetime
    role: AccountRole | None = None
    tenant_id: str | None = None
    object_id: str | None = None
    email: str | None = None
    groups: Mapping[str, GroupGrant] = field(default_factory=dict)
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key of an application: a sealed verifier, never the key.

    A rotation makes a new key and sets `expires_on` of the old one to the end of the overlap.
    """

    id: str
    account: str
    application: str
    sealed_verifier: str
    created_on: datetime
    expires_on: datetime | None = None
    revoked_on: datetime | None = None
    replaced_by: str | None = None

    def active_at(self, now: datetime) -> bool:
        """Whether it proves anything at `now`."""
        return self.revoked_on is None and (self.expires_on is None or now < self.expires_on)
