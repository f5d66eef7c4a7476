"""Accounts and members: created whole, never without an admin, changed only as they were read."""

import asyncio
from datetime import timedelta

import pytest

from core.domain.accounts import AccountRole, PrincipalKind
from core.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    NotPermittedError,
    StaleWriteError,
    VaultUnavailableError,
)
from core.services.applications import ServicePrincipal
from core.services.members import NewMember
from tests.builders.people import ABROAD, ALICE, BOB, HOME, ROOT, Office, object_id

MEMBER, ADMIN, AUDITOR = AccountRole.MEMBER, AccountRole.ADMIN, AccountRole.AUDITOR


async def test_an_account_starts_with_a_data_key_and_its_creator_as_admin() -> None:
    office = Office()
    account = (await office.create_account(ROOT, "  Contoso ")).value
    assert account.title == "Contoso"
    assert (await office.sealing.records.read(account.id, account.data_key)).value.account == account.id
    admin = await office.access.resolve(ROOT, account.id)
    assert (admin.role, admin.kind) == (ADMIN, PrincipalKind.USER)


async def test_only_the_platform_admin_creates_accounts() -> None:
    with pytest.raises(NotPermittedError) as refused:
        await Office().create_account(ALICE, "Contoso")
    assert refused.value.facts == {"permission": "account.create"}


@pytest.mark.parametrize("title", ["", "  ", "x" * 129, "a\nb", "a\x00b"])
async def test_a_title_is_printable_and_short(title: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await Office().create_account(ROOT, title)
    assert (refused.value.code, refused.value.field) == ("title_invalid", "title")


async def test_an_account_whose_creation_broke_off_is_not_there() -> None:
    office = Office()
    office.sealing.sealing_key.fault = VaultUnavailableError("no", code="sealing_key_unavailable")
    with pytest.raises(VaultUnavailableError):
        await office.create_account(ROOT, "Contoso")
    assert (await office.accounts.mine(ROOT)).items == ()


async def test_an_account_is_renamed_by_its_admin_as_it_was_read() -> None:
    office = Office()
    account = await office.an_account()
    read = await office.accounts.get(ROOT, account)
    await office.accounts.rename(ROOT, account, "Fabrikam", read.etag)
    with pytest.raises(StaleWriteError):
        await office.accounts.rename(ROOT, account, "Northwind", read.etag)
    assert (await office.accounts.get(ROOT, account)).value.title == "Fabrikam"


async def test_my_accounts_are_paged_and_mine_only() -> None:
    office = Office()
    mine = sorted([await office.an_account(f"Account {number}") for number in range(3)])
    await office.members.add(ROOT, mine[0], NewMember(MEMBER, object_id=BOB.object_id))
    first = await office.accounts.mine(ROOT, limit=2)
    rest = await office.accounts.mine(ROOT, after=first.next, limit=2)
    assert [one.value.id for one in (*first.items, *rest.items)] == mine
    assert rest.next is None
    assert [one.value.id for one in (await office.accounts.mine(BOB)).items] == mine[:1]


@pytest.mark.parametrize(
    ("new", "code"),
    [
        (NewMember(MEMBER), "invalid_request"),
        (NewMember(MEMBER, object_id=BOB.object_id, email="bob@contoso.example"), "invalid_request"),
        (NewMember(MEMBER, object_id="bob"), "guid_invalid"),
        (NewMember(MEMBER, object_id=BOB.object_id, tenant_id="contoso"), "guid_invalid"),
        (NewMember(MEMBER, email="bob"), "email_invalid"),
        (NewMember(MEMBER, email="a b@contoso.example"), "email_invalid"),
        (NewMember(MEMBER, email="bob@contoso.example", tenant_id=ABROAD), "email_outside_home_tenant"),
    ],
)
async def test_a_member_is_named_by_one_well_formed_thing(new: NewMember, code: str) -> None:
    office = Office()
    account = await office.an_account()
    with pytest.raises(InvalidRequestError) as refused:
        await office.members.add(ROOT, account, new)
    assert refused.value.code == code


async def test_a_member_of_another_tenant_is_added_by_object_id() -> None:
    office = Office()
    account = await office.an_account()
    added = await office.members.add(ROOT, account, NewMember(MEMBER, object_id=BOB.object_id, tenant_id=ABROAD))
    assert added.value.tenant_id == ABROAD


async def test_nobody_is_a_member_twice() -> None:
    office = Office()
    account = await office.an_account()
    await office.members.add(ROOT, account, NewMember(MEMBER, email="ALICE@contoso.example"))
    await office.access.resolve(ALICE, account)
    for again in (NewMember(MEMBER, email="alice@contoso.example"), NewMember(ADMIN, object_id=ALICE.object_id)):
        with pytest.raises(AlreadyExistsError) as refused:
            await office.members.add(ROOT, account, again)
        assert refused.value.code == "member_exists"


async def test_a_service_principal_of_an_application_is_no_member_too() -> None:
    office = Office()
    account = await office.an_account()
    await office.applications.create(ROOT, account, "Payments", {}, ServicePrincipal(HOME, object_id("payments")))
    with pytest.raises(AlreadyExistsError):
        await office.members.add(ROOT, account, NewMember(ADMIN, object_id=object_id("payments")))


async def test_members_are_listed_in_pages_without_applications() -> None:
    office = Office()
    account = await office.an_account()
    await office.applications.create(ROOT, account, "Payments", {})
    for name in ("bob", "carol", "dave"):
        await office.members.add(ROOT, account, NewMember(MEMBER, object_id=object_id(name)))
    names, after = [], None
    while True:
        page = await office.members.page(ROOT, account, after=after, limit=3)
        assert len(page.items) <= 3
        names += [one.value.id for one in page.items]
        if (after := page.next) is None:
            break
    assert len(names) == 4
    assert names == sorted(names)


async def test_the_last_admin_stays() -> None:
    office = Office()
    account = await office.an_account()
    root = (await office.access.resolve(ROOT, account)).id
    await office.members.add(ROOT, account, NewMember(ADMIN, email="alice@contoso.example"))
    before = await office.members.get(ROOT, account, root)
    for attempt in (
        office.members.change_role(ROOT, account, root, MEMBER),
        office.members.delete(ROOT, account, root),
    ):
        with pytest.raises(ConflictError) as refused:
            await attempt
        assert refused.value.code == "last_admin"
    assert await office.members.get(ROOT, account, root) == before
    await office.access.resolve(ALICE, account)
    await office.members.delete(ROOT, account, root)
    with pytest.raises(NotFoundError):
        await office.access.resolve(ROOT, account)


async def test_two_admins_who_leave_at_once_leave_one() -> None:
    office = Office()
    account = await office.an_account()
    root = (await office.access.resolve(ROOT, account)).id
    bob = (await office.members.add(ROOT, account, NewMember(ADMIN, object_id=BOB.object_id))).value.id
    for admin in (ROOT, BOB):
        await office.access.resolve(admin, account)
    await asyncio.gather(
        office.members.change_role(ROOT, account, root, MEMBER),
        office.members.change_role(BOB, account, bob, MEMBER),
        return_exceptions=True,
    )
    rows = [stored.value async for _, stored in office.principal_rows.scan(account)]
    assert any(row.role is ADMIN for row in rows)


async def test_a_role_changes_as_it_was_read() -> None:
    office = Office()
    account = await office.an_account()
    added = await office.members.add(ROOT, account, NewMember(MEMBER, object_id=BOB.object_id))
    changed = await office.members.change_role(ROOT, account, added.value.id, AUDITOR, added.etag)
    with pytest.raises(StaleWriteError):
        await office.members.delete(ROOT, account, added.value.id, added.etag)
    await office.members.delete(ROOT, account, added.value.id, changed.etag)
    with pytest.raises(NotFoundError) as refused:
        await office.members.get(ROOT, account, added.value.id)
    assert refused.value.code == "member_not_found"


async def test_whoever_is_deleted_forgets_the_account() -> None:
    office = Office()
    account = await office.an_account()
    invited = await office.members.add(ROOT, account, NewMember(MEMBER, email="alice@contoso.example"))
    await office.access.resolve(ALICE, account)
    await office.members.delete(ROOT, account, invited.value.id)
    office.clock.move(timedelta(minutes=1))
    assert (await office.accounts.mine(ALICE)).items == ()
    assert await office.callers.accounts_of(ALICE) == ()


async def test_members_change_nothing_of_members() -> None:
    office = Office()
    account = await office.an_account()
    bob = (await office.members.add(ROOT, account, NewMember(MEMBER, object_id=BOB.object_id))).value.id
    assert (await office.members.get(BOB, account, bob)).value.id == bob
    for attempt in (
        office.members.add(BOB, account, NewMember(ADMIN, email="mallory@contoso.example")),
        office.members.change_role(BOB, account, bob, ADMIN),
        office.members.delete(BOB, account, bob),
        office.accounts.rename(BOB, account, "Mine"),
    ):
        with pytest.raises(NotPermittedError):
            await attempt
