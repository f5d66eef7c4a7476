"""API keys: shown once, worthless to anybody else, ended at once and rotated with overlap."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.accounts import AccountRole, GroupRole
from core.domain.callers import CallerKind
from core.domain.permissions import Permission
from core.domain.secrets import SecretText
from core.errors import (
    ConflictError,
    IntegrityError,
    InvalidRequestError,
    NotAuthenticatedError,
    NotFoundError,
    NotPermittedError,
    StaleWriteError,
)
from core.services.api_keys import IssuedApiKey, Rotation
from core.services.applications import ApplicationChange
from core.services.members import NewMember
from tests.builders.people import BOB, GROUP, ROOT, Office

DAY = timedelta(days=1)


async def an_application(office: Office) -> tuple[str, str]:
    account = await office.an_account()
    created = await office.applications.create(ROOT, account, "Payments", {GROUP: GroupRole.APPLICATION})
    return account, created.value.id


async def an_issued_key(office: Office) -> tuple[str, str, IssuedApiKey]:
    account, application = await an_application(office)
    return account, application, await office.api_keys.issue(ROOT, account, application)


async def refusal(office: Office, text: SecretText) -> str:
    with pytest.raises(NotAuthenticatedError) as refused:
        await office.verify_api_key(text)
    return refused.value.code


async def test_an_api_key_is_its_application() -> None:
    office = Office()
    account, application, issued = await an_issued_key(office)
    assert len(issued.text.reveal()) == 3 + 24 + 1 + 43
    caller = await office.verify_api_key(issued.text)
    assert (caller.kind, caller.principal, caller.account) == (CallerKind.API_KEY, application, account)
    await office.access.require(caller, account, Permission.KEY_SIGN, GROUP)
    with pytest.raises(NotPermittedError):
        await office.access.require(caller, account, Permission.GROUP_SYNC, GROUP)


async def test_an_api_key_is_nobody_in_another_account() -> None:
    office = Office()
    account, _, issued = await an_issued_key(office)
    other = await office.an_account("Fabrikam")
    caller = await office.verify_api_key(issued.text)
    namesake = replace(await office.access.resolve(caller, account), account=other)
    await office.principal_rows.insert(other, namesake.id, namesake)
    with pytest.raises(NotFoundError):
        await office.access.resolve(caller, other)


async def test_the_key_is_stored_nowhere() -> None:
    office = Office()
    account, application, issued = await an_issued_key(office)
    secret = issued.text.reveal()[-43:]
    page = await office.api_keys.page(ROOT, account, application)
    assert [one.value.id for one in page.items] == [issued.api_key.value.id]
    assert secret not in repr(page)
    assert secret not in repr(issued)


async def test_malformed_unknown_and_wrong_are_the_same() -> None:
    office = Office()
    _, _, issued = await an_issued_key(office)
    text = issued.text.reveal()
    other = "A" if text[-1] != "A" else "B"
    for wrong in (
        "",
        "ks_",
        text[:-1],
        text + "A",
        text[:-1] + other,
        text.upper(),
        f"ks_{'a' * 24}_{'A' * 43}",
        "ks_é",
    ):
        assert await refusal(office, SecretText(wrong)) == "api_key_invalid"


async def test_a_verifier_of_one_api_key_is_none_of_another() -> None:
    office = Office()
    account, application, mine = await an_issued_key(office)
    target = (await office.api_keys.issue(ROOT, account, application)).api_key
    swapped = replace(target.value, sealed_verifier=mine.api_key.value.sealed_verifier)
    await office.api_key_rows.replace("apikey", swapped.id, swapped, target.etag)
    body = target.value.id.removeprefix("apk_")
    with pytest.raises(IntegrityError):
        await office.verify_api_key(SecretText(f"ks_{body}_{mine.text.reveal()[-43:]}"))


async def test_an_expired_api_key_proves_nothing() -> None:
    office = Office()
    account, application = await an_application(office)
    issued = await office.api_keys.issue(ROOT, account, application, office.clock.now() + DAY)
    await office.verify_api_key(issued.text)
    office.clock.move(DAY)
    assert await refusal(office, issued.text) == "api_key_expired"
    with pytest.raises(InvalidRequestError):
        await office.api_keys.issue(ROOT, account, application, office.clock.now())


async def test_a_revoked_api_key_ends_at_once_and_stays_so() -> None:
    office = Office()
    account, application, issued = await an_issued_key(office)
    await office.verify_api_key(issued.text)
    id_ = issued.api_key.value.id
    revoked = await office.api_keys.revoke(ROOT, account, application, id_)
    assert await refusal(office, issued.text) == "api_key_revoked"
    office.clock.move(DAY)
    assert (await office.api_keys.revoke(ROOT, account, application, id_)).value == revoked.value
    with pytest.raises(ConflictError):
        await office.api_keys.rotate(ROOT, account, application, id_, Rotation(DAY))


async def test_a_rotated_api_key_works_for_the_overlap() -> None:
    office = Office()
    account, application, old = await an_issued_key(office)
    new = await office.api_keys.rotate(ROOT, account, application, old.api_key.value.id, Rotation(DAY))
    for text in (old.text, new.text):
        assert (await office.verify_api_key(text)).principal == application
    office.clock.move(DAY)
    assert await refusal(office, old.text) == "api_key_expired"
    await office.verify_api_key(new.text)
    stored = await office.api_keys.get(ROOT, account, application, old.api_key.value.id)
    assert stored.value.replaced_by == new.api_key.value.id


async def test_a_rotation_never_prolongs_an_api_key() -> None:
    office = Office()
    account, application = await an_application(office)
    ends = office.clock.now() + DAY
    old = await office.api_keys.issue(ROOT, account, application, ends)
    await office.api_keys.rotate(ROOT, account, application, old.api_key.value.id, Rotation(7 * DAY))
    assert (await office.api_keys.get(ROOT, account, application, old.api_key.value.id)).value.expires_on == ends


async def test_a_rotation_of_what_changed_issues_nothing() -> None:
    office = Office()
    account, application, old = await an_issued_key(office)
    rotation = Rotation(DAY, if_match="another")
    with pytest.raises(StaleWriteError):
        await office.api_keys.rotate(ROOT, account, application, old.api_key.value.id, rotation)
    assert len((await office.api_keys.page(ROOT, account, application)).items) == 1


@pytest.mark.parametrize("overlap", [timedelta(days=31), timedelta(seconds=-1)])
async def test_the_overlap_is_bounded(overlap: timedelta) -> None:
    office = Office()
    account, application, old = await an_issued_key(office)
    with pytest.raises(InvalidRequestError) as refused:
        await office.api_keys.rotate(ROOT, account, application, old.api_key.value.id, Rotation(overlap))
    assert refused.value.code == "overlap_invalid"


async def test_a_disabled_application_has_no_working_api_key() -> None:
    office = Office()
    account, application, issued = await an_issued_key(office)
    caller = await office.verify_api_key(issued.text)
    await office.applications.update(ROOT, account, application, ApplicationChange(disabled=True))
    with pytest.raises(NotFoundError):
        await office.access.resolve(caller, account)
    office.clock.move(timedelta(seconds=5))
    assert await refusal(office, issued.text) == "application_disabled"
    await office.applications.delete(ROOT, account, application)
    office.clock.move(timedelta(seconds=5))
    assert await refusal(office, issued.text) == "api_key_invalid"


async def test_a_known_api_key_costs_no_storage_for_five_seconds() -> None:
    office = Office()
    _, _, issued = await an_issued_key(office)
    await office.verify_api_key(issued.text)
    before = (office.api_key_rows.reads, office.principal_rows.reads)
    for _ in range(20):
        await office.verify_api_key(issued.text)
    assert (office.api_key_rows.reads, office.principal_rows.reads) == before


async def test_an_api_key_of_another_application_is_not_there() -> None:
    office = Office()
    account, _, issued = await an_issued_key(office)
    other = await office.applications.create(ROOT, account, "Billing", {})
    with pytest.raises(NotFoundError) as refused:
        await office.api_keys.revoke(ROOT, account, other.value.id, issued.api_key.value.id)
    assert refused.value.code == "api_key_not_found"


async def test_members_neither_see_nor_make_api_keys() -> None:
    office = Office()
    account, application, _ = await an_issued_key(office)
    await office.members.add(ROOT, account, NewMember(AccountRole.MEMBER, object_id=BOB.object_id))
    for attempt in (
        office.api_keys.issue(BOB, account, application),
        office.api_keys.page(BOB, account, application),
    ):
        with pytest.raises(NotPermittedError):
            await attempt
