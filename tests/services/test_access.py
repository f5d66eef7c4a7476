"""Access: 404 for what a caller may not know, 403 for what it may not do, and no storage call while it is known."""

import asyncio
from datetime import timedelta

import pytest

from core.domain.accounts import AccountRole, GroupRole, Principal
from core.domain.callers import Caller, CallerKind
from core.domain.identifiers import IdKind, new_id
from core.domain.identities import email_principal_id
from core.domain.permissions import Permission
from core.errors import NotFoundError, NotPermittedError
from core.services.group_members import NewGrant
from core.services.members import NewMember
from tests.builders.people import ABROAD, ALICE, BOB, GROUP, OTHER_GROUP, ROOT, Office, a_user, object_id

EMAIL = "alice@contoso.example"


async def add(office: Office, account: str, caller: Caller, role: AccountRole = AccountRole.MEMBER) -> str:
    new = NewMember(role, object_id=caller.object_id, tenant_id=caller.tenant_id)
    return (await office.members.add(ROOT, account, new)).value.id


async def invite(office: Office, account: str, role: AccountRole = AccountRole.MEMBER) -> str:
    return (await office.members.add(ROOT, account, NewMember(role, email=EMAIL))).value.id


async def test_a_stranger_cannot_tell_an_account_from_none() -> None:
    office = Office()
    account = await office.an_account()
    answers = []
    for guess in (account, new_id(IdKind.ACCOUNT), "acc_x", ""):
        with pytest.raises(NotFoundError) as refused:
            await office.access.require(BOB, guess, Permission.ACCOUNT_READ)
        answers.append((refused.value.code, refused.value.detail, dict(refused.value.facts)))
    assert len({str(answer) for answer in answers}) == 1


async def test_the_platform_admin_is_a_stranger_in_accounts_of_others() -> None:
    office = Office()
    account = await office.an_account()
    await add(office, account, ALICE, AccountRole.ADMIN)
    await office.members.delete(ALICE, account, (await office.access.resolve(ROOT, account)).id)
    with pytest.raises(NotFoundError):
        await office.access.require(ROOT, account, Permission.ACCOUNT_READ)


async def test_a_member_cannot_tell_a_foreign_group_from_none() -> None:
    office = Office()
    account = await office.an_account()
    bob = await add(office, account, BOB)
    await office.group_members.grant(ROOT, account, GROUP, bob, NewGrant(GroupRole.OPERATOR))
    await office.access.require(BOB, account, Permission.GROUP_SYNC, GROUP)
    details = set()
    for group in (OTHER_GROUP, new_id(IdKind.GROUP)):
        with pytest.raises(NotFoundError) as refused:
            await office.access.require(BOB, account, Permission.GROUP_READ, group)
        details.add((refused.value.code, refused.value.detail))
    assert len(details) == 1


async def test_what_is_seen_but_not_allowed_names_the_permission() -> None:
    office = Office()
    account = await office.an_account()
    await add(office, account, BOB)
    with pytest.raises(NotPermittedError) as refused:
        await office.access.require(BOB, account, Permission.MEMBER_WRITE)
    assert refused.value.facts == {"permission": "member.write"}


async def test_the_same_person_of_another_tenant_is_somebody_else() -> None:
    office = Office()
    account = await office.an_account()
    await add(office, account, BOB)
    with pytest.raises(NotFoundError):
        await office.access.resolve(a_user("bob", tenant=ABROAD), account)


async def test_a_known_caller_costs_no_storage_for_five_seconds() -> None:
    office = Office()
    rows = office.principal_rows
    account = await office.an_account()
    await office.access.resolve(ROOT, account)
    before = rows.reads
    for _ in range(50):
        await office.access.require(ROOT, account, Permission.GROUP_SYNC, GROUP)
    assert rows.reads == before
    office.clock.move(timedelta(seconds=5))
    await office.access.resolve(ROOT, account)
    assert rows.reads == before + 1


async def test_a_role_that_is_changed_here_counts_at_once() -> None:
    office = Office()
    account = await office.an_account()
    bob = await add(office, account, BOB, AccountRole.ADMIN)
    await office.access.require(BOB, account, Permission.MEMBER_WRITE)
    await office.members.change_role(ROOT, account, bob, AccountRole.AUDITOR)
    with pytest.raises(NotPermittedError):
        await office.access.require(BOB, account, Permission.MEMBER_WRITE)


async def test_an_invitation_is_bound_at_the_first_sign_in() -> None:
    office = Office()
    account = await office.an_account()
    invited = await invite(office, account)
    assert invited == email_principal_id(EMAIL)
    principal = await office.access.resolve(ALICE, account)
    assert (principal.id, principal.object_id, principal.name) == (invited, ALICE.object_id, "Alice")
    without_email = a_user("alice")
    assert (await office.access.resolve(without_email, account)).id == invited


@pytest.mark.parametrize(
    "caller",
    [
        a_user("mallory", tenant=ABROAD, email=EMAIL),
        Caller(CallerKind.SERVICE_PRINCIPAL, "prn_x", "robot", ALICE.tenant_id, object_id("robot"), EMAIL),
        a_user("mallory", email="mallory@contoso.example"),
        a_user("mallory"),
    ],
)
async def test_an_invitation_is_nobody_elses(caller: Caller) -> None:
    office = Office()
    account = await office.an_account()
    await invite(office, account)
    with pytest.raises(NotFoundError):
        await office.access.resolve(caller, account)
    assert (await office.access.resolve(ALICE, account)).object_id == ALICE.object_id


async def test_a_bound_invitation_is_not_the_next_owners_of_the_address() -> None:
    office = Office()
    account = await office.an_account()
    await invite(office, account)
    await office.access.resolve(ALICE, account)
    with pytest.raises(NotFoundError):
        await office.access.resolve(a_user("successor", email=EMAIL), account)


async def test_first_sign_ins_at_once_bind_one_identity() -> None:
    office = Office()
    account = await office.an_account()
    await invite(office, account)
    rivals = [ALICE, ALICE, a_user("twin", email=EMAIL)]
    found = await asyncio.gather(
        *(office.callers.principal_of(caller, account) for caller in rivals), return_exceptions=True
    )
    row = await office.principal_rows.get(account, email_principal_id(EMAIL))
    assert row is not None
    for caller, principal in zip(rivals, found, strict=True):
        assert isinstance(principal, Principal) == (caller.object_id == row.value.object_id)


async def test_an_invitation_that_was_deleted_binds_nobody() -> None:
    office = Office()
    account = await office.an_account()
    invited = await invite(office, account)
    await office.members.delete(ROOT, account, invited)
    with pytest.raises(NotFoundError):
        await office.access.resolve(ALICE, account)


async def test_a_broken_off_binding_is_finished_by_the_next_sign_in() -> None:
    office = Office()
    account = await office.an_account()
    await invite(office, account)
    await office.access.resolve(ALICE, account)
    await office.identity_rows.delete("identity", ALICE.principal)
    office.access.forget(account)
    await office.access.resolve(ALICE, account)
    assert await office.identities.memberships(ALICE.principal) == {account: email_principal_id(EMAIL)}


async def test_platform_permissions_are_the_first_admins_only() -> None:
    office = Office()
    assert office.access.platform_permissions(ROOT) == {Permission.ACCOUNT_CREATE, Permission.SEALING_KEY_ROTATE}
    for caller in (ALICE, a_user("root", tenant=ABROAD), Caller(CallerKind.API_KEY, "app_x", "x", account="acc_x")):
        with pytest.raises(NotPermittedError):
            office.access.require_platform(caller, Permission.ACCOUNT_CREATE)
