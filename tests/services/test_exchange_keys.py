"""Key exchange keys: made where there is none to use, used while the vault says that they can, retired in time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.exchange_keys import OVERLAP, RENEWED_AFTER, ExchangeKey
from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.keys import Validity, VirtualKey
from core.domain.new_keys import NewVersion
from core.domain.transfer_blobs import KeyExchangeKey
from core.errors import (
    ConflictError,
    InvalidRequestError,
    KeystewardError,
    NotFoundError,
    VaultDeniedError,
    VaultUnavailableError,
)
from core.services.findings import FindingFilter
from tests.builders.keys import ACCOUNT, ALICE, GROUP, NOW, a_deletion
from tests.builders.new_keys import EC, GROUPS, PREMIUM, SOURCES, KeyStage
from tests.fakes.interleaved import InterleavedCollection
from tests.fakes.vault import FakeVault
from tests.material.keys import a_key as material_of_kind

RSA_HSM = NewVersion("RSA-HSM", KeyKind(KeyFamily.RSA, 2048), ("import",))
DAY = timedelta(days=1)


@pytest.fixture
async def stage() -> KeyStage:
    stage = KeyStage()
    await stage.set_up()
    return stage


async def current(stage: KeyStage, group: str = PREMIUM) -> KeyExchangeKey:
    return await stage.made.exchange_keys.current(stage.premium, GROUPS[group], ALICE)


async def listed(stage: KeyStage) -> tuple[ExchangeKey, ...]:
    return await stage.made.exchange_keys.list(ACCOUNT, PREMIUM)


def name_of(key: KeyExchangeKey) -> str:
    return key.kid.split("/")[-2]


def change(vault: FakeVault, name: str, **changes: object) -> None:
    vault.live[name][-1] = replace(vault.live[name][-1], **changes)


# --- made and used ------------------------------------------------------------------------------------------------


async def test_the_first_that_is_needed_is_made_in_the_vault_and_recorded_like_any_key(stage: KeyStage) -> None:
    made = await current(stage)
    version = stage.premium.live[name_of(made)][0]
    assert made.kid == f"https://premium.vault.azure.net/keys/{name_of(made)}/{version.id}"
    assert (version.type, version.size, version.operations) == ("RSA-HSM", 4096, ("import",))
    assert version.validity == Validity(expires_on=NOW + RENEWED_AFTER + OVERLAP)
    (key,) = await stage.virtual_keys(PREMIUM)
    assert (key.name, key.created_by, key.history[0].event) == (
        f"premium/{name_of(made)}", ALICE, "key.created_for_exchange",
    )  # fmt: skip
    assert [(one.key, one.version) for one in await listed(stage)] == [(key.id, version.id)]
    await stage.check_lists()


async def test_it_is_used_until_it_is_renewed(stage: KeyStage) -> None:
    first = await current(stage)
    stage.clock.move(RENEWED_AFTER - timedelta(seconds=1))
    assert await current(stage) == first
    stage.clock.move(timedelta(seconds=1))
    second = await current(stage)
    assert name_of(second) != name_of(first)
    assert await current(stage) == second
    assert len(await listed(stage)) == 2


async def test_many_requests_of_a_process_at_once_make_one(stage: KeyStage) -> None:
    stage.exchange_rows = InterleavedCollection()
    stage.intent_rows = InterleavedCollection()
    stage.wire()
    found = await asyncio.gather(*(current(stage) for _ in range(6)))
    assert {key.kid for key in found} == {found[0].kid}
    assert len(stage.premium.live) == 1


async def test_two_processes_at_once_may_make_two_and_remember_both(stage: KeyStage) -> None:
    stage.exchange_rows = InterleavedCollection()
    stage.intent_rows = InterleavedCollection()
    stage.wire()
    found = await asyncio.gather(current(stage), current(stage.twin()))
    assert {one.azure_name for one in await listed(stage)} == set(map(name_of, found)) == set(stage.premium.live)
    assert (await current(stage)).kid in {key.kid for key in found}


async def test_a_request_that_is_cancelled_while_it_makes_one_holds_up_no_other(stage: KeyStage) -> None:
    stage.exchange_rows = InterleavedCollection()
    stage.wire()
    waiting = [asyncio.create_task(current(stage)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert len({key.kid for key in done[1:] if isinstance(key, KeyExchangeKey)}) == 1


async def lost_row(stage: KeyStage, name: str) -> None:
    await stage.exchange_rows.delete(ACCOUNT, PREMIUM)


async def purged(stage: KeyStage, name: str) -> None:
    del stage.premium.live[name]


async def soft_deleted(stage: KeyStage, name: str) -> None:
    stage.premium.delete(name, a_deletion())


def altered(**changes: object) -> Callable[[KeyStage, str], object]:
    async def alter(stage: KeyStage, name: str) -> None:
        change(stage.premium, name, **changes)

    return alter


@pytest.mark.parametrize(
    "happens",
    [
        lost_row,
        purged,
        soft_deleted,
        altered(validity=Validity(enabled=False)),
        altered(validity=Validity(expires_on=NOW)),
        altered(validity=Validity(not_before=NOW + DAY)),
        altered(operations=("decrypt", "import")),
        altered(operations=("unwrapKey",)),
        altered(operations=()),
        altered(type="RSA"),
    ],
    ids=["row lost", "purged", "soft-deleted", "disabled", "expired", "not yet", "can decrypt", "can unwrap", "nothing",
         "software"],
)  # fmt: skip
async def test_one_that_cannot_be_used_any_more_is_replaced(stage: KeyStage, happens: Callable[..., object]) -> None:
    first = await current(stage)
    await happens(stage, name_of(first))
    second = await current(stage)
    assert name_of(second) != name_of(first)
    assert (second.type, second.operations) == ("RSA-HSM", ("import",))
    assert await current(stage) == second


async def test_a_row_that_was_tampered_with_has_nothing_wrapped_under_another_key(stage: KeyStage) -> None:
    first = await current(stage)
    for other in (
        NewVersion("RSA-HSM", KeyKind(KeyFamily.RSA, 2048), ("decrypt", "unwrapKey")),
        NewVersion("RSA-HSM", KeyKind(KeyFamily.RSA, 2048), ("import", "decrypt")),
        NewVersion("RSA", KeyKind(KeyFamily.RSA, 2048), ("import",)),
        NewVersion("EC-HSM", EC, ("sign",)),
    ):
        _, version = await stage.premium.create("attackers", other)
        stored = await stage.exchange_rows.get(ACCOUNT, PREMIUM)
        assert stored is not None
        tampered = replace(stored.value.keys[-1], azure_name="attackers", version=version.id)
        await stage.exchange_rows.replace(ACCOUNT, PREMIUM, replace(stored.value, keys=(tampered,)), stored.etag)
        found = await current(stage)
        assert name_of(found) not in {"attackers", name_of(first)}
        with material_of_kind(EC) as material:
            await stage.made.new_keys.bring(
                stage.key(f"int_{version.id}", PREMIUM, azure_name=f"k{version.id}"), material
            )


async def test_a_record_that_was_tampered_with_does_not_say_what_material_is_wrapped_under(stage: KeyStage) -> None:
    _, planted = await stage.premium.create("attackers", RSA_HSM)
    write = stage.key_rows.write_many

    async def tampering(group: str, values: dict[str, tuple[VirtualKey, str | None]]) -> set[str]:
        changed = {
            id_: (replace(key, versions=(replace(key.versions[-1], public_key=planted.public_key),)), etag)
            for id_, (key, etag) in values.items()
        }
        return await write(group, changed)

    stage.key_rows.write_many = tampering
    made = await current(stage)
    shown = stage.premium.live[name_of(made)][0].public_key
    assert shown != planted.public_key
    assert made.n == (await stage.made.exchange_keys.require(stage.premium, GROUPS[PREMIUM], made.kid)).n


@pytest.mark.parametrize(
    "error", [VaultDeniedError("no get"), VaultUnavailableError("away")], ids=lambda error: error.code
)
async def test_a_vault_that_cannot_be_asked_has_no_other_made(stage: KeyStage, error: KeystewardError) -> None:
    await current(stage)

    def fail(operation: str, name: str) -> None:
        raise error

    stage.premium.before = fail
    with pytest.raises(type(error)):
        await current(stage)
    stage.premium.before = lambda operation, name: None
    assert len(stage.premium.live) == 1


@pytest.mark.parametrize(("group", "code"), [(GROUP, "vault_without_hsm"), (SOURCES, "group_kind")])
async def test_where_there_is_no_hsm_there_is_none(stage: KeyStage, group: str, code: str) -> None:
    with pytest.raises(ConflictError) as refusal:
        await current(stage, group)
    assert refusal.value.code == code


# --- named ones ---------------------------------------------------------------------------------------------------


async def test_one_that_others_made_can_be_named_by_name_or_id(stage: KeyStage) -> None:
    await stage.premium.create("their-kek", RSA_HSM)
    _, second = await stage.premium.create("their-kek", RSA_HSM)
    first = stage.premium.live["their-kek"][0]
    for named, version in (
        ("their-kek", second.id),
        ("https://premium.vault.azure.net/keys/their-kek", second.id),
        (f"https://PREMIUM.vault.azure.net/keys/their-kek/{first.id}", first.id),
    ):
        found = await stage.made.exchange_keys.require(stage.premium, GROUPS[PREMIUM], named)
        assert found.kid.endswith(f"/{version}")


@pytest.mark.parametrize(
    ("named", "error", "code"),
    [
        ("nobodys", NotFoundError, "key_exchange_key_not_found"),
        ("https://premium.vault.azure.net/keys/nobodys", NotFoundError, "key_exchange_key_not_found"),
        ("https://payments.vault.azure.net/keys/their-kek", NotFoundError, "key_exchange_key_not_found"),
        ("https://premium.vault.azure.net.evil.example/keys/their-kek", NotFoundError, "key_exchange_key_not_found"),
        (f"https://premium.vault.azure.net/keys/their-kek/{'0' * 32}", NotFoundError, "key_exchange_key_not_found"),
        ("https://premium.vault.azure.net/secrets/their-kek", InvalidRequestError, "transfer_blob_kid"),
        ("../secrets", InvalidRequestError, "azure_name_invalid"),
        ("", InvalidRequestError, "azure_name_invalid"),
        ("decrypts", ConflictError, "key_exchange_key_unsuitable"),
        ("disabled", ConflictError, "key_exchange_key_unsuitable"),
        ("expired", ConflictError, "key_exchange_key_unsuitable"),
        ("software", ConflictError, "key_exchange_key_unsuitable"),
        ("curve", ConflictError, "key_exchange_key_unsuitable"),
        ("large", ConflictError, "key_exchange_key_unsuitable"),
    ],
)
async def test_nothing_is_wrapped_under_what_is_no_key_exchange_key_of_the_vault(
    stage: KeyStage, named: str, error: type[KeystewardError], code: str
) -> None:
    vault = stage.premium
    for name, new in {
        "their-kek": RSA_HSM,
        "decrypts": replace(RSA_HSM, operations=("import", "decrypt")),
        "disabled": replace(RSA_HSM, validity=Validity(enabled=False)),
        "expired": replace(RSA_HSM, validity=Validity(expires_on=NOW)),
        "software": replace(RSA_HSM, type="RSA"),
        "curve": NewVersion("EC-HSM", EC, ("sign",)),
        "large": RSA_HSM,
    }.items():
        await vault.create(name, new)
    change(vault, "large", size=8192)
    with pytest.raises(error) as refusal:
        await stage.made.exchange_keys.require(vault, GROUPS[PREMIUM], named)
    assert refusal.value.code == code


# --- retired ------------------------------------------------------------------------------------------------------


async def test_a_retired_one_is_disabled_in_the_vault_and_another_takes_its_place(stage: KeyStage) -> None:
    first = await current(stage)
    (known,) = await listed(stage)
    stage.clock.move(DAY)
    retired = await stage.made.exchange_keys.retire(ACCOUNT, PREMIUM, known.key, ALICE)
    assert retired == replace(known, retired_on=NOW + DAY)
    assert not stage.premium.live[name_of(first)][0].validity.enabled
    (key,) = await stage.virtual_keys(PREMIUM)
    assert (key.history[-1].event, key.history[-1].actor) == ("key.deactivated", ALICE)
    assert key.versions == tuple(stage.premium.live[name_of(first)])
    await stage.check_lists()
    await stage.sync_all()
    assert not (await stage.virtual_keys(PREMIUM))[0].drift
    assert name_of(await current(stage)) != name_of(first)


async def test_retiring_again_changes_nothing(stage: KeyStage) -> None:
    await current(stage)
    (known,) = await listed(stage)
    once = await stage.made.exchange_keys.retire(ACCOUNT, PREMIUM, known.key, ALICE)
    calls = stage.premium.calls.copy()
    stage.clock.move(DAY)
    assert await stage.made.exchange_keys.retire(ACCOUNT, PREMIUM, known.key, ALICE) == once
    assert stage.premium.calls == calls


@pytest.mark.parametrize("key", ["key_nobodys", ""])
async def test_what_is_no_key_exchange_key_of_ours_is_not_retired(stage: KeyStage, key: str) -> None:
    await current(stage)
    with pytest.raises(NotFoundError) as refusal:
        await stage.made.exchange_keys.retire(ACCOUNT, PREMIUM, key, ALICE)
    assert refusal.value.code == "key_exchange_key_not_found"


async def test_one_that_is_gone_from_the_vault_is_retired_all_the_same(stage: KeyStage) -> None:
    first = await current(stage)
    (known,) = await listed(stage)
    del stage.premium.live[name_of(first)]
    assert (await stage.made.exchange_keys.retire(ACCOUNT, PREMIUM, known.key, ALICE)).retired_on is not None


async def test_each_is_retired_when_its_time_is_over_and_not_before(stage: KeyStage) -> None:
    await current(stage)
    stage.clock.move(RENEWED_AFTER)
    await current(stage)
    stage.clock.move(OVERLAP - timedelta(seconds=1))
    assert await stage.made.exchange_keys.retire_due() == 0
    stage.clock.move(timedelta(seconds=1))
    assert await stage.made.exchange_keys.retire_due() == 1
    assert [one.retired_on is not None for one in await listed(stage)] == [True, False]
    assert await stage.made.exchange_keys.retire_due() == 0


async def test_one_that_cannot_be_retired_now_is_found_and_retired_later(stage: KeyStage) -> None:
    first = await current(stage)
    stage.clock.move(RENEWED_AFTER + OVERLAP)

    def refuse(operation: str, name: str) -> None:
        if operation == "update":
            raise VaultDeniedError("no update")

    stage.premium.before = refuse
    assert await stage.made.exchange_keys.retire_due() == 0
    assert await findings(stage) == ["exchange_key_not_retired"]
    assert (await listed(stage))[0].retired_on is None
    stage.premium.before = lambda operation, name: None
    assert await stage.made.exchange_keys.retire_due() == 1
    assert await findings(stage) == []
    assert not stage.premium.live[name_of(first)][0].validity.enabled


async def findings(stage: KeyStage) -> list[str]:
    page, _ = await stage.findings.page(ACCOUNT, FindingFilter(), after=None, limit=100)
    return [finding.code.value for finding in page]


async def test_what_is_due_of_a_group_that_is_gone_is_forgotten(stage: KeyStage) -> None:
    await current(stage)
    await stage.groups.delete(ACCOUNT, PREMIUM)
    stage.clock.move(RENEWED_AFTER + OVERLAP)
    assert await stage.made.exchange_keys.retire_due() == 1
    assert await stage.made.exchange_keys.retire_due() == 0


async def test_one_whose_row_was_lost_ends_in_the_vault_by_itself(stage: KeyStage) -> None:
    first = await current(stage)
    await stage.exchange_rows.delete(ACCOUNT, PREMIUM)
    stage.clock.move(RENEWED_AFTER + OVERLAP)
    assert await stage.made.exchange_keys.retire_due() == 1
    expires_on = stage.premium.live[name_of(first)][0].validity.expires_on
    assert expires_on is not None
    assert expires_on <= stage.clock.now()
