"""Which groups a list over a whole account may show to a principal."""

from core.domain.accounts import Principal
from core.domain.permissions import Decision, Permission, decide, sees_every_group


def visible_groups(principal: Principal, permission: Permission) -> frozenset[str] | None:
    """Return the groups on which `principal` holds `permission`, a read; None for all groups of the account."""
    if sees_every_group(principal):
        return None
    return frozenset(group for group in principal.groups if decide(principal, group, permission) is Decision.ALLOWED)
