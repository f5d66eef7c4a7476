"""Roles in groups, and what a caller sees of itself."""

import pytest

from core.domain.accounts import AccountRole, GroupGrant, GroupRole, PrincipalKind
from core.domain.callers import Caller
from core.domain.groups import ConnectionState, GroupKind
from core.domain.identifiers import IdKind, new_id
from core.domain.permissions import Permission
from core.errors import InvalidRequestError, KeystewardError, NotFoundError, NotPermittedError, StaleWriteError
from core.services.group_members import NewGrant
from core.services.me import GROUP_LIMIT
from core.services.members import NewMember
from tests.builders.people import BOB, GROUP, OTHER_GROUP, ROOT, Office, a_group, a_user

CAROL = a_user("carol")


async def with_member(office: Office, account: str, who: Caller, role: AccountRole = AccountRole.MEMBER) -> str:
    return (await office.members.add(ROOT, account, NewMember(role, object_id=who.object_id))).value.id


async def test_a_group_admin_gives_roles_but_nothing_destructive() -> None:
    office = Office()
    account = await office.an_account()
    bob, carol = await with_member(office, account, BOB), await with_member(office, account, CAROL)
    await office.group_members.grant(ROOT, account, GROUP, bob, NewGrant(GroupRole.ADMIN))
    await office.group_members.grant(BOB, account, GROUP, carol, NewGrant(GroupRole.OPERATOR))
    await office.access.require(CAROL, account, Permission.GROUP_SYNC, GROUP)
    for target in (bob, carol):
        with pytest.raises(NotPermittedError) as refused:
            await office.group_members.grant(BOB, account, GROUP, target, NewGrant(GroupRole.ADMIN, ("key.purge",)))
        assert refused.value.facts == {"permission": "group_member.grant_extra"}


async def test_an_account_admin_grants_what_is_destructive_and_others_may_keep_it() -> None:
    office = Office()
    account = await office.an_account()
    bob, carol = await with_member(office, account, BOB), await with_member(office, account, CAROL)
    await office.group_members.grant(ROOT, account, GROUP, bob, NewGrant(GroupRole.ADMIN))
    purger = NewGrant(GroupRole.OPERATOR, ("key.purge", "key.purge"))
    await office.group_members.grant(ROOT, account, GROUP, carol, purger)
    await office.access.require(CAROL, account, Permission.KEY_PURGE, GROUP)
    kept = NewGrant(GroupRole.ADMIN, ("key.purge",))
    changed = await office.group_members.grant(BOB, account, GROUP, carol, kept)
    assert changed.value.groups[GROUP] == GroupGrant(GroupRole.ADMIN, ("key.purge",))


@pytest.mark.parametrize(
    ("role", "grant", "code"),
    [
        (AccountRole.MEMBER, NewGrant(GroupRole.OPERATOR, ("key.rotate",)), "extra_unknown"),
        (AccountRole.MEMBER, NewGrant(GroupRole.OPERATOR, ("no.such",)), "extra_unknown"),
        (AccountRole.MEMBER, NewGrant(GroupRole.AUDITOR, ("key.purge",)), "extra_for_auditor"),
        (AccountRole.MEMBER, NewGrant(GroupRole.APPLICATION), "role_for_applications"),
        (AccountRole.AUDITOR, NewGrant(GroupRole.ADMIN), "role_for_auditor"),
    ],
)
async def test_a_role_fits_who_gets_it(role: AccountRole, grant: NewGrant, code: str) -> None:
    office = Office()
    account = await office.an_account()
    bob = await with_member(office, account, BOB, role)
    with pytest.raises(InvalidRequestError) as refused:
        await office.group_members.grant(ROOT, account, GROUP, bob, grant)
    assert refused.value.code == code


async def test_a_role_is_withdrawn_as_it_was_read() -> None:
    office = Office()
    account = await office.an_account()
    bob = await with_member(office, account, BOB)
    first = await office.group_members.grant(ROOT, account, GROUP, bob, NewGrant(GroupRole.OPERATOR))
    second = await office.group_members.grant(ROOT, account, OTHER_GROUP, bob, NewGrant(GroupRole.AUDITOR))
    with pytest.raises(StaleWriteError):
        await office.group_members.withdraw(ROOT, account, GROUP, bob, first.etag)
    await office.access.require(BOB, account, Permission.GROUP_SYNC, GROUP)
    await office.group_members.withdraw(ROOT, account, GROUP, bob, second.etag)
    with pytest.raises(NotFoundError):
        await office.access.require(BOB, account, Permission.GROUP_READ, GROUP)
    await office.access.require(BOB, account, Permission.GROUP_READ, OTHER_GROUP)
    with pytest.raises(NotFoundError) as refused:
        await office.group_members.withdraw(ROOT, account, GROUP, bob)
    assert refused.value.code == "group_member_not_found"


async def test_the_members_of_a_group_are_those_with_a_role_in_it() -> None:
    office = Office()
    account = await office.an_account()
    bob = await with_member(office, account, BOB)
    application = await office.applications.create(ROOT, account, "Payments", {GROUP: GroupRole.APPLICATION})
    await office.group_members.grant(ROOT, account, GROUP, bob, NewGrant(GroupRole.AUDITOR))
    page = await office.group_members.page(BOB, account, GROUP)
    assert {one.value.id for one in page.items} == {bob, application.value.id}
    assert (await office.group_members.get(BOB, account, GROUP, bob)).value.kind is PrincipalKind.USER
    with pytest.raises(NotPermittedError):
        await office.group_members.withdraw(BOB, account, GROUP, bob)


async def test_a_group_that_is_not_there_is_not_found_for_admins_and_members_alike() -> None:
    office = Office()
    account = await office.an_account()
    await with_member(office, account, BOB)
    missing = new_id(IdKind.GROUP)
    answers = set()
    for caller, group in ((ROOT, missing), (BOB, missing), (BOB, GROUP)):
        with pytest.raises(KeystewardError) as refused:
            await office.group_members.page(caller, account, group)
        answers.add((type(refused.value), refused.value.code, refused.value.detail))
    assert len(answers) == 1


async def test_who_creates_a_group_is_its_admin() -> None:
    office = Office()
    account = await office.an_account()
    await with_member(office, account, BOB)
    await office.group_members.enrol_creator(await office.access.resolve(BOB, account), GROUP)
    principal = await office.access.require(BOB, account, Permission.GROUP_UPDATE, GROUP)
    assert principal.groups == {GROUP: GroupGrant(GroupRole.ADMIN)}


async def test_me_shows_my_accounts_and_the_groups_that_i_see() -> None:
    office = Office()
    account = await office.an_account()
    bob = await with_member(office, account, BOB)
    await office.group_members.grant(ROOT, account, GROUP, bob, NewGrant(GroupRole.ADMIN))
    mine = await office.who_am_i(BOB)
    assert mine.permissions == ()
    assert [(one.id, one.role, one.principal) for one in mine.accounts] == [(account, AccountRole.MEMBER, bob)]
    assert [(one.id, one.kind, one.external, one.connection, one.role) for one in mine.accounts[0].groups] == [
        (GROUP, GroupKind.AZURE, True, ConnectionState.UNTESTED, GroupRole.ADMIN)
    ]
    admins = await office.who_am_i(ROOT)
    assert admins.permissions == (Permission.ACCOUNT_CREATE, Permission.SEALING_KEY_ROTATE)
    assert {(one.id, one.role) for one in admins.accounts[0].groups} == {(GROUP, None), (OTHER_GROUP, None)}


async def test_me_is_bounded() -> None:
    office = Office()
    account = await office.an_account()
    for _ in range(GROUP_LIMIT):
        group = new_id(IdKind.GROUP)
        await office.group_rows.insert(account, group, a_group(account, group))
    mine = (await office.who_am_i(ROOT)).accounts[0]
    assert (len(mine.groups), mine.more_groups) == (GROUP_LIMIT, True)


async def test_a_stranger_is_told_who_it_is_and_nothing_else() -> None:
    office = Office()
    await office.an_account()
    mine = await office.who_am_i(CAROL)
    assert (mine.caller, mine.permissions, mine.accounts) == (CAROL, (), ())


async def test_an_invited_person_sees_the_account_at_the_first_sign_in() -> None:
    office = Office()
    account = await office.an_account()
    await office.members.add(ROOT, account, NewMember(AccountRole.AUDITOR, email="dave@contoso.example"))
    mine = await office.who_am_i(a_user("dave", email="Dave@Contoso.example"))
    assert [(one.id, one.role) for one in mine.accounts] == [(account, AccountRole.AUDITOR)]
