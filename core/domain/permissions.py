"""Who may do what: one table of permissions by account role and group role, and the decision that follows from it.

Invariants:
- What destroys or gives away (`Effect.DESTROY`) comes with no role; a grant names it in `extra`, one by one.
- Cryptographic operations (`Effect.USE`) are for applications, never for users.
- An auditor, of the account or of a group, holds reads only, whatever else was granted.
- What a principal does not see is hidden from it, whatever the permission.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from types import MappingProxyType

from core.domain.accounts import AccountRole, GroupRole, Principal, PrincipalKind


class Permission(StrEnum):
    """Every permission; the value is what a 403 names."""

    ACCOUNT_CREATE = "account.create"
    SEALING_KEY_ROTATE = "sealing_key.rotate"

    ACCOUNT_READ = "account.read"
    ACCOUNT_UPDATE = "account.update"
    ACCOUNT_POLICY_READ = "account_policy.read"
    ACCOUNT_POLICY_WRITE = "account_policy.write"
    MEMBER_READ = "member.read"
    MEMBER_WRITE = "member.write"
    APPLICATION_READ = "application.read"
    APPLICATION_WRITE = "application.write"
    API_KEY_READ = "api_key.read"
    API_KEY_WRITE = "api_key.write"
    AUDIT_READ = "audit.read"
    AUDIT_VERIFY = "audit.verify"
    CONNECTION_TEST = "connection.test"
    GROUP_CREATE = "group.create"

    GROUP_READ = "group.read"
    GROUP_UPDATE = "group.update"
    GROUP_DELETE = "group.delete"
    GROUP_TEST = "group.test"
    GROUP_SYNC = "group.sync"
    GROUP_AUDIT_READ = "group_audit.read"
    GROUP_MEMBER_READ = "group_member.read"
    GROUP_MEMBER_WRITE = "group_member.write"
    GROUP_MEMBER_GRANT_EXTRA = "group_member.grant_extra"
    GROUP_POLICY_READ = "group_policy.read"
    GROUP_POLICY_WRITE = "group_policy.write"
    ROTATION_POLICY_READ = "rotation_policy.read"
    ROTATION_POLICY_WRITE = "rotation_policy.write"
    APPROVAL_READ = "approval.read"
    APPROVAL_DECIDE = "approval.decide"
    FINDING_READ = "finding.read"
    JOB_READ = "job.read"
    JOB_CANCEL = "job.cancel"
    ESCROW_READ = "escrow.read"
    ESCROW_UPDATE = "escrow.update"
    ESCROW_DISABLE = "escrow.disable"

    KEY_READ = "key.read"
    KEY_CREATE = "key.create"
    KEY_IMPORT = "key.import"
    KEY_COPY = "key.copy"
    KEY_TRANSFER = "key.transfer"
    KEY_UPDATE = "key.update"
    KEY_ACTIVATE = "key.activate"
    KEY_DEACTIVATE = "key.deactivate"
    KEY_ROTATE = "key.rotate"
    KEY_SOFT_DELETE = "key.soft_delete"
    KEY_RECOVER = "key.recover"
    KEY_RESTORE = "key.restore"
    KEY_PURGE = "key.purge"
    KEY_DELETE = "key.delete"
    KEY_EXPORT = "key.export"
    KEY_WITHOUT_ESCROW = "key.without_escrow"
    KEY_ENCRYPT = "key.encrypt"
    KEY_DECRYPT = "key.decrypt"
    KEY_WRAP = "key.wrap"
    KEY_UNWRAP = "key.unwrap"
    KEY_SIGN = "key.sign"
    KEY_VERIFY = "key.verify"


class Scope(StrEnum):
    """What a permission is held on."""

    PLATFORM = "platform"
    ACCOUNT = "account"
    GROUP = "group"


class Effect(StrEnum):
    """What a permission lets happen."""

    READ = "read"
    CHANGE = "change"
    DESTROY = "destroy"
    USE = "use"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: what `permission` is for, and the roles that hold it.

    An account role that holds a permission on groups holds it on every group of the account.
    """

    permission: Permission
    scope: Scope
    effect: Effect
    meaning: str
    account_roles: frozenset[AccountRole] = frozenset()
    group_roles: frozenset[GroupRole] = frozenset()


_P, _PLATFORM, _ACCOUNT, _GROUP = Permission, Scope.PLATFORM, Scope.ACCOUNT, Scope.GROUP
_READ, _CHANGE, _DESTROY, _USE = Effect
_MEMBERS = frozenset(AccountRole)
_ADMIN = frozenset({AccountRole.ADMIN})
_BUILDERS = frozenset({AccountRole.ADMIN, AccountRole.MEMBER})
_OVERSEERS = frozenset({AccountRole.ADMIN, AccountRole.AUDITOR})
_G_NONE: frozenset[GroupRole] = frozenset()
_G_ALL = frozenset(GroupRole)
_G_ADMIN = frozenset({GroupRole.ADMIN})
_G_OPERATE = frozenset({GroupRole.ADMIN, GroupRole.OPERATOR})
_G_READ = frozenset({GroupRole.ADMIN, GroupRole.OPERATOR, GroupRole.AUDITOR})
_G_APPROVE = frozenset({GroupRole.ADMIN, GroupRole.OPERATOR, GroupRole.APPLICATION})
_G_APPLICATION = frozenset({GroupRole.APPLICATION})

# fmt: off
TABLE: tuple[Rule, ...] = (
    Rule(_P.ACCOUNT_CREATE, _PLATFORM, _CHANGE, "Create an account."),
    Rule(_P.SEALING_KEY_ROTATE, _PLATFORM, _CHANGE, "Rotate the sealing key and rewrap the data keys."),

    Rule(_P.ACCOUNT_READ, _ACCOUNT, _READ, "See the account.", _MEMBERS),
    Rule(_P.ACCOUNT_UPDATE, _ACCOUNT, _CHANGE, "Rename the account.", _ADMIN),
    Rule(_P.ACCOUNT_POLICY_READ, _ACCOUNT, _READ, "See the account's policies.", _MEMBERS),
    Rule(_P.ACCOUNT_POLICY_WRITE, _ACCOUNT, _CHANGE, "Change the account's policies.", _ADMIN),
    Rule(_P.MEMBER_READ, _ACCOUNT, _READ, "See the members.", _MEMBERS),
    Rule(_P.MEMBER_WRITE, _ACCOUNT, _CHANGE, "Add and delete members, change their roles.", _ADMIN),
    Rule(_P.APPLICATION_READ, _ACCOUNT, _READ, "See the applications.", _MEMBERS),
    Rule(_P.APPLICATION_WRITE, _ACCOUNT, _CHANGE, "Create, change, disable and delete applications.", _ADMIN),
    Rule(_P.API_KEY_READ, _ACCOUNT, _READ, "See that API keys exist, never the keys.", _OVERSEERS),
    Rule(_P.API_KEY_WRITE, _ACCOUNT, _CHANGE, "Issue, rotate and revoke API keys.", _ADMIN),
    Rule(_P.AUDIT_READ, _ACCOUNT, _READ, "Read and export the account's audit log.", _OVERSEERS),
    Rule(_P.AUDIT_VERIFY, _ACCOUNT, _READ, "Recompute the chain of the audit log.", _OVERSEERS),
    Rule(_P.CONNECTION_TEST, _ACCOUNT, _CHANGE, "Test a connection that is not saved.", _BUILDERS),
    Rule(_P.GROUP_CREATE, _ACCOUNT, _CHANGE, "Create a group and become its admin.", _BUILDERS),

    Rule(_P.GROUP_READ, _GROUP, _READ, "See the group and its connection.", _OVERSEERS, _G_ALL),
    Rule(_P.GROUP_UPDATE, _GROUP, _CHANGE, "Change the group, its connection and schedules.", _ADMIN, _G_ADMIN),
    Rule(_P.GROUP_DELETE, _GROUP, _CHANGE, "Delete a group that holds no keys.", _ADMIN, _G_ADMIN),
    Rule(_P.GROUP_TEST, _GROUP, _CHANGE, "Test the group's connection.", _ADMIN, _G_OPERATE),
    Rule(_P.GROUP_SYNC, _GROUP, _CHANGE, "Start a sync.", _ADMIN, _G_OPERATE),
    Rule(_P.GROUP_AUDIT_READ, _GROUP, _READ, "Read the group's part of the audit log.", _OVERSEERS, _G_READ),
    Rule(_P.GROUP_MEMBER_READ, _GROUP, _READ, "See who has a role in the group.", _OVERSEERS, _G_READ),
    Rule(_P.GROUP_MEMBER_WRITE, _GROUP, _CHANGE, "Grant and withdraw roles in the group.", _ADMIN, _G_ADMIN),
    Rule(_P.GROUP_MEMBER_GRANT_EXTRA, _GROUP, _CHANGE, "Grant destructive permissions beside a role.", _ADMIN, _G_NONE),
    Rule(_P.GROUP_POLICY_READ, _GROUP, _READ, "See the group's policies.", _OVERSEERS, _G_READ),
    Rule(_P.GROUP_POLICY_WRITE, _GROUP, _CHANGE, "Change the group's policies.", _ADMIN, _G_ADMIN),
    Rule(_P.ROTATION_POLICY_READ, _GROUP, _READ, "See rotation policies.", _OVERSEERS, _G_READ),
    Rule(_P.ROTATION_POLICY_WRITE, _GROUP, _CHANGE, "Change rotation policies.", _ADMIN, _G_OPERATE),
    Rule(_P.APPROVAL_READ, _GROUP, _READ, "See approval requests.", _OVERSEERS, _G_ALL),
    Rule(_P.APPROVAL_DECIDE, _GROUP, _CHANGE, "Approve or reject, where the quorum names one.", _ADMIN, _G_APPROVE),
    Rule(_P.FINDING_READ, _GROUP, _READ, "See findings.", _OVERSEERS, _G_READ),
    Rule(_P.JOB_READ, _GROUP, _READ, "See jobs and their progress.", _OVERSEERS, _G_READ),
    Rule(_P.JOB_CANCEL, _GROUP, _CHANGE, "Cancel a job.", _ADMIN, _G_OPERATE),
    Rule(_P.ESCROW_READ, _GROUP, _READ, "See escrow generations and manifests, never content.", _OVERSEERS, _G_READ),
    Rule(_P.ESCROW_UPDATE, _GROUP, _CHANGE, "Enable escrow and set its retention.", _ADMIN, _G_ADMIN),
    Rule(_P.ESCROW_DISABLE, _GROUP, _DESTROY, "Stop escrowing the group's keys."),

    Rule(_P.KEY_READ, _GROUP, _READ, "See keys and their history.", _OVERSEERS, _G_ALL),
    Rule(_P.KEY_CREATE, _GROUP, _CHANGE, "Generate keys.", _ADMIN, _G_OPERATE),
    Rule(_P.KEY_IMPORT, _GROUP, _CHANGE, "Import keys.", _ADMIN, _G_OPERATE),
    Rule(_P.KEY_COPY, _GROUP, _CHANGE, "Copy source keys into the group; from it, as blobs, too.", _ADMIN, _G_OPERATE),
    Rule(
        _P.KEY_TRANSFER, _GROUP, _CHANGE,
        "Make and check transfer blobs, retire key exchange keys; have the group's keys wrap and unwrap other keys.",
        _ADMIN, _G_OPERATE,
    ),
    Rule(_P.KEY_UPDATE, _GROUP, _CHANGE, "Change dates, operations and tags.", _ADMIN, _G_OPERATE),
    Rule(_P.KEY_ACTIVATE, _GROUP, _CHANGE, "Enable a key.", _ADMIN, _G_OPERATE),
    Rule(_P.KEY_DEACTIVATE, _GROUP, _CHANGE, "Disable a key.", _ADMIN, _G_OPERATE),
    Rule(_P.KEY_ROTATE, _GROUP, _CHANGE, "Rotate a key.", _ADMIN, _G_OPERATE),
    Rule(_P.KEY_SOFT_DELETE, _GROUP, _CHANGE, "Soft-delete a key.", _ADMIN, _G_OPERATE),
    Rule(_P.KEY_RECOVER, _GROUP, _CHANGE, "Recover a soft-deleted key.", _ADMIN, _G_OPERATE),
    Rule(_P.KEY_RESTORE, _GROUP, _CHANGE, "Restore a key from escrow, or drill it.", _ADMIN, _G_OPERATE),
    Rule(_P.KEY_PURGE, _GROUP, _DESTROY, "Purge a soft-deleted key."),
    Rule(_P.KEY_DELETE, _GROUP, _DESTROY, "Destroy the escrow of a purged key."),
    Rule(_P.KEY_EXPORT, _GROUP, _DESTROY, "Export a source key's material."),
    Rule(_P.KEY_WITHOUT_ESCROW, _GROUP, _DESTROY, "Do the irreversible without a verified escrow."),
    Rule(_P.KEY_ENCRYPT, _GROUP, _USE, "Encrypt with a key.", group_roles=_G_APPLICATION),
    Rule(_P.KEY_DECRYPT, _GROUP, _USE, "Decrypt with a key.", group_roles=_G_APPLICATION),
    Rule(_P.KEY_WRAP, _GROUP, _USE, "Wrap with a key.", group_roles=_G_APPLICATION),
    Rule(_P.KEY_UNWRAP, _GROUP, _USE, "Unwrap with a key.", group_roles=_G_APPLICATION),
    Rule(_P.KEY_SIGN, _GROUP, _USE, "Sign with a key.", group_roles=_G_APPLICATION),
    Rule(_P.KEY_VERIFY, _GROUP, _USE, "Verify with a key.", group_roles=_G_APPLICATION),
)
# fmt: on

RULES: Mapping[Permission, Rule] = MappingProxyType({rule.permission: rule for rule in TABLE})
PLATFORM = frozenset(rule.permission for rule in TABLE if rule.scope is Scope.PLATFORM)
DESTRUCTIVE = frozenset(rule.permission for rule in TABLE if rule.effect is Effect.DESTROY)
READS = frozenset(rule.permission for rule in TABLE if rule.effect is Effect.READ)
_USES = frozenset(rule.permission for rule in TABLE if rule.effect is Effect.USE)
_OF_ACCOUNT_ROLE = {role: frozenset(r.permission for r in TABLE if role in r.account_roles) for role in AccountRole}
_OF_GROUP_ROLE = {role: frozenset(r.permission for r in TABLE if role in r.group_roles) for role in GroupRole}


class Decision(Enum):
    """The answer: `HIDDEN` is a 404, `LACKING` a 403 that names the permission."""

    ALLOWED = auto()
    LACKING = auto()
    HIDDEN = auto()


def decide(principal: Principal, group: str | None, permission: Permission) -> Decision:
    """Decide whether `principal` holds `permission` in its account, or on `group` of it.

    ValueError where the permission's scope does not fit: a group permission without a group or the reverse.
    """
    if RULES[permission].scope is not (Scope.ACCOUNT if group is None else Scope.GROUP):
        raise ValueError(f"{permission} is not a permission of this scope")
    if principal.disabled or (group is not None and not sees_group(principal, group)):
        return Decision.HIDDEN
    return Decision.ALLOWED if permission in permissions_of(principal, group) else Decision.LACKING


def sees_group(principal: Principal, group: str) -> bool:
    """Whether `group` exists for `principal`."""
    return sees_every_group(principal) or group in principal.groups


def sees_every_group(principal: Principal) -> bool:
    """Whether every group of the account exists for `principal`."""
    return _account_role(principal) in _OVERSEERS


def permissions_of(principal: Principal, group: str | None) -> frozenset[Permission]:
    """Return what an enabled `principal` holds in its account or, where given, on `group`."""
    role = _account_role(principal)
    scope = Scope.ACCOUNT if group is None else Scope.GROUP
    held = _OF_ACCOUNT_ROLE[role] if role else frozenset()
    if group is not None and role is not AccountRole.AUDITOR:
        held |= _granted(principal, group)
    return frozenset(permission for permission in held if RULES[permission].scope is scope)


def _granted(principal: Principal, group: str) -> frozenset[Permission]:
    grant = principal.groups.get(group)
    if grant is None:
        return frozenset()
    held = _OF_GROUP_ROLE[grant.role]
    if grant.role is not GroupRole.AUDITOR:
        held |= {permission for permission in DESTRUCTIVE if permission in grant.extra}
    return held if principal.kind is PrincipalKind.APPLICATION else held - _USES


def _account_role(principal: Principal) -> AccountRole | None:
    """Applications have their group roles only."""
    return principal.role if principal.kind is PrincipalKind.USER else None
