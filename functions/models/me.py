"""The caller itself, on the wire."""

from core.domain.accounts import AccountRole, GroupRole, PrincipalKind
from core.domain.callers import CallerKind
from core.domain.groups import ConnectionState, GroupKind
from core.domain.permissions import Permission
from functions.models.base import AnswerModel


class CallerAnswer(AnswerModel):
    """Who calls, and how that was proven."""

    kind: CallerKind
    principal: str
    display_name: str
    tenant_id: str | None
    object_id: str | None
    email: str | None


class MyGroupAnswer(AnswerModel):
    """A group of the caller. `external`: a vault holds its keys; `role` is null where an account role shows it."""

    id: str
    title: str
    kind: GroupKind
    external: bool
    connection: ConnectionState
    role: GroupRole | None
    extra: tuple[str, ...]


class MyAccountAnswer(AnswerModel):
    """An account of the caller; `more_groups`: the groups list has more of them."""

    id: str
    title: str
    principal: str
    kind: PrincipalKind
    role: AccountRole | None
    groups: tuple[MyGroupAnswer, ...]
    more_groups: bool


class MeAnswer(AnswerModel):
    """The caller, its permissions on the platform, its accounts and its groups."""

    caller: CallerAnswer
    permissions: tuple[Permission, ...]
    accounts: tuple[MyAccountAnswer, ...]
    more_accounts: bool
