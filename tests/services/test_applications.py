"""Applications: roles in groups only, at most one principal per Entra identity."""

import pytest

from core.domain.accounts import AccountRole, GroupGrant, GroupRole
from core.domain.identifiers import IdKind, new_id
from core.domain.permissions import Permission
from core.errors import ConflictError, InvalidRequestError, NotFoundError, NotPermittedError, StaleWriteError
from core.services.applications import ApplicationChange, ServicePrincipal
from core.services.group_members import NewGrant
from core.services.members import NewMember
from tests.builders.people import (
    BOB,
    GROUP,
    HOME,
    OTHER_GROUP,
    ROOT,
    Office,
    a_service_principal,
    a_user,
    object_id,
)

ROBOT = a_service_principal("robot")
BINDING = ServicePrincipal(HOME, object_id("robot"))


async def test_a_service_principal_is_its_application() -> None:
    office = Office()
    account = await office.an_account()
    created = await office.applications.create(ROOT, account, "Payments", {GROUP: GroupRole.APPLICATION}, BINDING)
    principal = await office.access.require(ROBOT, account, Permission.KEY_ENCRYPT, GROUP)
    assert principal.id == created.value.id
    with pytest.raises(NotPermittedError):
        await office.access.require(ROBOT, account, Permission.ACCOUNT_READ)


async def test_a_person_never_acts_as_an_application() -> None:
    office = Office()
    account = await office.an_account()
    await office.applications.create(ROOT, account, "Payments", {GROUP: GroupRole.APPLICATION}, BINDING)
    with pytest.raises(NotFoundError):
        await office.access.resolve(a_user("robot"), account)


async def test_an_identity_is_one_principal_of_an_account() -> None:
    office = Office()
    account = await office.an_account()
    await office.applications.create(ROOT, account, "Payments", {}, BINDING)
    await office.members.add(ROOT, account, NewMember(AccountRole.MEMBER, object_id=BOB.object_id))
    for taken in (BINDING, ServicePrincipal(HOME, BOB.object_id or "")):
        with pytest.raises(ConflictError) as refused:
            await office.applications.create(ROOT, account, "Billing", {}, taken)
        assert refused.value.code == "identity_in_use"
    other = await office.an_account("Fabrikam")
    await office.applications.create(ROOT, other, "Payments", {}, BINDING)
    assert set(await office.callers.accounts_of(ROBOT)) == {account, other}


async def test_a_binding_moves_to_another_service_principal() -> None:
    office = Office()
    account = await office.an_account()
    created = await office.applications.create(ROOT, account, "Payments", {}, BINDING)
    successor = a_service_principal("successor")
    await office.access.resolve(ROBOT, account)
    await office.applications.bind(
        ROOT, account, created.value.id, ServicePrincipal(HOME, object_id("successor")), created.etag
    )
    assert (await office.access.resolve(successor, account)).id == created.value.id
    with pytest.raises(NotFoundError):
        await office.access.resolve(ROBOT, account)
    assert await office.callers.accounts_of(ROBOT) == ()
    await office.applications.bind(ROOT, account, created.value.id, None)
    with pytest.raises(NotFoundError):
        await office.access.resolve(successor, account)


async def test_roles_are_replaced_and_what_was_granted_beside_them_stays() -> None:
    office = Office()
    account = await office.an_account()
    created = await office.applications.create(ROOT, account, "Payments", {GROUP: GroupRole.APPLICATION})
    granted = await office.group_members.grant(
        ROOT, account, GROUP, created.value.id, NewGrant(GroupRole.APPLICATION, ("key.export",))
    )
    roles = {GROUP: GroupRole.APPLICATION, OTHER_GROUP: GroupRole.OPERATOR}
    updated = await office.applications.update(
        ROOT, account, created.value.id, ApplicationChange(title="Pay", groups=roles), granted.etag
    )
    assert updated.value.name == "Pay"
    assert updated.value.groups == {
        GROUP: GroupGrant(GroupRole.APPLICATION, ("key.export",)),
        OTHER_GROUP: GroupGrant(GroupRole.OPERATOR),
    }
    lowered = ApplicationChange(groups={GROUP: GroupRole.AUDITOR})
    changed = await office.applications.update(ROOT, account, created.value.id, lowered)
    assert changed.value.groups == {GROUP: GroupGrant(GroupRole.AUDITOR)}


async def test_roles_are_in_groups_that_are_there() -> None:
    office = Office()
    account = await office.an_account()
    with pytest.raises(InvalidRequestError) as refused:
        await office.applications.create(ROOT, account, "Payments", {new_id(IdKind.GROUP): GroupRole.OPERATOR})
    assert (refused.value.code, refused.value.field) == ("group_unknown", "groups")


async def test_an_application_changes_as_it_was_read_and_is_gone_once_deleted() -> None:
    office = Office()
    account = await office.an_account()
    created = await office.applications.create(ROOT, account, "Payments", {}, BINDING)
    id_ = created.value.id
    updated = await office.applications.update(ROOT, account, id_, ApplicationChange(disabled=True), created.etag)
    with pytest.raises(NotFoundError):
        await office.access.resolve(ROBOT, account)
    with pytest.raises(StaleWriteError):
        await office.applications.delete(ROOT, account, id_, created.etag)
    await office.applications.delete(ROOT, account, id_, updated.etag)
    with pytest.raises(NotFoundError) as refused:
        await office.applications.get(ROOT, account, id_)
    assert refused.value.code == "application_not_found"
    assert (await office.applications.page(ROOT, account)).items == ()
    await office.applications.create(ROOT, account, "Payments again", {}, BINDING)


async def test_a_member_is_no_application() -> None:
    office = Office()
    account = await office.an_account()
    root = (await office.access.resolve(ROOT, account)).id
    with pytest.raises(NotFoundError):
        await office.applications.delete(ROOT, account, root)
