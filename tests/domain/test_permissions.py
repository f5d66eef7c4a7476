"""The permission table: every permission can be had, none by whom it must not."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.accounts import AccountRole, GroupGrant, GroupRole, Principal, PrincipalKind
from core.domain.permissions import (
    DESTRUCTIVE,
    PLATFORM,
    READS,
    RULES,
    TABLE,
    Decision,
    Effect,
    Permission,
    Scope,
    decide,
    permissions_of,
)
from tests.builders.people import a_principal

GROUP = "grp_x"
P = Permission

principals = st.builds(
    a_principal,
    kind=st.sampled_from(PrincipalKind),
    role=st.none() | st.sampled_from(AccountRole),
    groups=st.dictionaries(
        st.sampled_from([GROUP, "grp_y"]),
        st.builds(
            GroupGrant,
            role=st.sampled_from(GroupRole),
            extra=st.lists(st.sampled_from([*Permission, "no.such"]), max_size=4).map(tuple),
        ),
    ),
    disabled=st.booleans(),
)


def everything(principal: Principal) -> frozenset[Permission]:
    return permissions_of(principal, None) | permissions_of(principal, GROUP)


def test_the_table_has_each_permission_once() -> None:
    assert [rule.permission for rule in TABLE] == list(Permission)


def test_every_permission_can_be_had() -> None:
    reachable: set[Permission] = set(PLATFORM)
    extras = tuple(sorted(DESTRUCTIVE))
    for kind, role, group_role in product(PrincipalKind, [None, *AccountRole], GroupRole):
        reachable |= everything(a_principal(kind, role, {GROUP: GroupGrant(group_role, extras)}))
    assert reachable == set(Permission)


@given(principals)
def test_nothing_destructive_without_being_named(principal: Principal) -> None:
    grant = principal.groups.get(GROUP)
    named = set(grant.extra) if grant else set()
    assert everything(principal) & DESTRUCTIVE <= named


@given(principals)
def test_an_auditor_of_the_account_only_reads(principal: Principal) -> None:
    if principal.kind is PrincipalKind.USER and principal.role is AccountRole.AUDITOR:
        assert everything(principal) == READS


@given(principals)
def test_an_auditor_of_a_group_only_reads_it(principal: Principal) -> None:
    grant = principal.groups.get(GROUP)
    if grant and grant.role is GroupRole.AUDITOR and principal.role is not AccountRole.ADMIN:
        assert permissions_of(principal, GROUP) <= READS


@given(principals)
def test_users_never_use_keys(principal: Principal) -> None:
    used = {rule.permission for rule in TABLE if rule.effect is Effect.USE}
    if principal.kind is PrincipalKind.USER:
        assert not everything(principal) & used


@given(principals)
def test_applications_hold_nothing_of_the_account(principal: Principal) -> None:
    if principal.kind is PrincipalKind.APPLICATION:
        assert permissions_of(principal, None) == frozenset()


@given(principals, st.sampled_from(Permission))
def test_extra_gives_destructive_permissions_only(principal: Principal, permission: Permission) -> None:
    bare = {id_: GroupGrant(grant.role) for id_, grant in principal.groups.items()}
    without = a_principal(principal.kind, principal.role, bare, disabled=principal.disabled)
    assert everything(principal) - everything(without) <= DESTRUCTIVE


@given(principals, st.sampled_from([rule.permission for rule in TABLE if rule.scope is Scope.GROUP]))
def test_what_is_hidden_is_hidden_for_every_permission(principal: Principal, permission: Permission) -> None:
    hidden = decide(principal, GROUP, P.GROUP_READ) is Decision.HIDDEN
    assert (decide(principal, GROUP, permission) is Decision.HIDDEN) == hidden


@given(principals)
def test_the_disabled_see_nothing(principal: Principal) -> None:
    if principal.disabled:
        assert decide(principal, None, P.ACCOUNT_READ) is Decision.HIDDEN
        assert decide(principal, GROUP, P.GROUP_READ) is Decision.HIDDEN


ALLOWED, LACKING, HIDDEN = Decision


def member(role: GroupRole, *extra: str) -> Principal:
    return a_principal(role=AccountRole.MEMBER, groups={GROUP: GroupGrant(role, extra)})


def application() -> Principal:
    return a_principal(PrincipalKind.APPLICATION, groups={GROUP: GroupGrant(GroupRole.APPLICATION)})


@pytest.mark.parametrize(
    ("principal", "group", "permission", "expected"),
    [
        (a_principal(role=AccountRole.ADMIN), None, P.MEMBER_WRITE, ALLOWED),
        (a_principal(role=AccountRole.ADMIN), GROUP, P.GROUP_SYNC, ALLOWED),
        (a_principal(role=AccountRole.ADMIN), GROUP, P.KEY_PURGE, LACKING),
        (a_principal(role=AccountRole.ADMIN), GROUP, P.KEY_SIGN, LACKING),
        (a_principal(role=AccountRole.AUDITOR), None, P.AUDIT_READ, ALLOWED),
        (a_principal(role=AccountRole.AUDITOR), GROUP, P.KEY_READ, ALLOWED),
        (a_principal(role=AccountRole.AUDITOR), GROUP, P.GROUP_SYNC, LACKING),
        (a_principal(role=AccountRole.MEMBER), None, P.GROUP_CREATE, ALLOWED),
        (a_principal(role=AccountRole.MEMBER), None, P.MEMBER_WRITE, LACKING),
        (a_principal(role=AccountRole.MEMBER), GROUP, P.KEY_READ, HIDDEN),
        (member(GroupRole.OPERATOR), GROUP, P.KEY_ROTATE, ALLOWED),
        (member(GroupRole.OPERATOR), GROUP, P.GROUP_UPDATE, LACKING),
        (member(GroupRole.ADMIN), GROUP, P.GROUP_MEMBER_GRANT_EXTRA, LACKING),
        (member(GroupRole.ADMIN, P.KEY_PURGE), GROUP, P.KEY_PURGE, ALLOWED),
        (member(GroupRole.ADMIN, P.KEY_PURGE), GROUP, P.KEY_DELETE, LACKING),
        (application(), GROUP, P.KEY_SIGN, ALLOWED),
        (application(), GROUP, P.GROUP_SYNC, LACKING),
        (application(), "grp_y", P.KEY_SIGN, HIDDEN),
    ],
)
def test_decisions(principal: Principal, group: str | None, permission: Permission, expected: Decision) -> None:
    assert decide(principal, group, permission) is expected


@pytest.mark.parametrize(
    ("group", "permission"), [(None, P.GROUP_READ), (GROUP, P.MEMBER_READ), (None, P.ACCOUNT_CREATE)]
)
def test_a_permission_of_another_scope_is_a_mistake(group: str | None, permission: Permission) -> None:
    with pytest.raises(ValueError, match="scope"):
        decide(a_principal(role=AccountRole.ADMIN), group, permission)


def test_every_rule_says_what_it_is_for() -> None:
    assert all(RULES[permission].meaning.endswith(".") for permission in Permission)
