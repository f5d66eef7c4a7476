"""Rotation of the sealing key: every data key under the newest version, sealed objects untouched, nothing lost."""

import asyncio

import pytest

from core.domain.data_keys import WrappedDataKey
from core.domain.sealing import ESCROW
from core.domain.secrets import SecretBytes
from core.errors import IntegrityError, NotPermittedError, StaleWriteError, VaultDeniedError
from core.ports import Binding
from core.services.rewrap import RewrapDataKeys
from tests.builders.people import ALICE, ROOT, Office
from tests.fakes.sealing import MemorySealingKey

CONTENT = b"sealed before the rotation"


async def an_office_with(accounts: int) -> tuple[Office, list[Binding], list[str]]:
    office = Office()
    bindings, sealed = [], []
    for number in range(accounts):
        account = (await office.create_account(ROOT, f"Account {number}")).value.id
        bindings.append(Binding(account, ESCROW, "key_1", "esc_1"))
        sealed.append(await office.sealing.sealer.seal(bindings[-1], SecretBytes(CONTENT)))
    return office, bindings, sealed


async def stored_records(office: Office) -> dict[str, tuple[bytes, str]]:
    blobs = office.sealing.blobs
    return {name: await blobs.read(name) async for name in blobs.names("")}


async def test_sealed_objects_open_before_and_after() -> None:
    office, bindings, sealed = await an_office_with(3)
    result = await office.rewrap(ROOT, new_version=True)
    assert (result.rewrapped, result.current, result.failed) == (3, 0, ())
    assert result.sealing_key == await office.sealing.sealing_key.newest()
    restarted = office.sealing.restarted()
    for binding, one in zip(bindings, sealed, strict=True):
        assert (await restarted.sealer.open(binding, one)).reveal() == CONTENT
    for account, data_key in [reference async for reference in restarted.records.references()]:
        assert (await restarted.records.read(account, data_key)).value.sealing_key == result.sealing_key


async def test_a_second_run_has_nothing_to_do() -> None:
    office, _, _ = await an_office_with(3)
    await office.rewrap(ROOT, new_version=True)
    before = await stored_records(office)
    result = await office.rewrap(ROOT, new_version=False)
    assert (result.rewrapped, result.current) == (0, 3)
    assert await stored_records(office) == before


async def test_what_failed_is_named_stays_readable_and_is_done_by_the_next_run() -> None:
    office, bindings, sealed = await an_office_with(3)
    blobs = office.sealing.blobs
    name = next(name for name in await stored_records(office) if name.startswith(bindings[0].account))
    content, etag = await blobs.read(name)
    etag = await blobs.replace(name, b"{}", etag)
    result = await office.rewrap(ROOT, new_version=True)
    assert result.rewrapped == 2
    assert [(one.account, one.code) for one in result.failed] == [(name.split("/")[0], "data_key_unavailable")]
    await blobs.replace(name, content, etag)
    assert (await office.sealing.restarted().sealer.open(bindings[0], sealed[0])).reveal() == CONTENT
    result = await office.rewrap(ROOT, new_version=False)
    assert (result.rewrapped, result.current, result.failed) == (1, 2, ())


async def test_two_runs_at_once_lose_nothing() -> None:
    office, bindings, sealed = await an_office_with(5)
    results = await asyncio.gather(*(office.rewrap(ROOT, new_version=True) for _ in range(2)))
    assert all(not result.failed for result in results)
    restarted = office.sealing.restarted()
    for binding, one in zip(bindings, sealed, strict=True):
        assert (await restarted.sealer.open(binding, one)).reveal() == CONTENT


async def test_a_wrapping_that_does_not_unwrap_again_replaces_nothing() -> None:
    office, _, _ = await an_office_with(1)
    before = await stored_records(office)

    class Lossy(MemorySealingKey):
        """Wraps something else than it was given."""

        async def wrap(self, sealing_key: str, key_to_wrap: SecretBytes) -> bytes:
            return await super().wrap(sealing_key, SecretBytes(bytes(len(key_to_wrap.reveal()))))

    lossy = Lossy()
    result = await RewrapDataKeys(office.access, office.sealing.records, lossy)(ROOT, new_version=True)
    assert [one.code for one in result.failed] == ["data_key_unavailable"]
    assert await stored_records(office) == before


async def test_a_record_that_changes_meanwhile_is_read_again() -> None:
    office, _, _ = await an_office_with(1)
    records = office.sealing.records

    class Busy:
        """Another writer is faster, once."""

        def __init__(self) -> None:
            self.refused = 0
            self.create, self.read, self.references = records.create, records.read, records.references

        async def replace(self, record: WrappedDataKey, etag: str) -> None:
            self.refused += 1
            if self.refused == 1:
                raise StaleWriteError("The data key")
            await records.replace(record, etag)

    busy = Busy()
    result = await RewrapDataKeys(office.access, busy, office.sealing.sealing_key)(ROOT, new_version=True)
    assert (result.rewrapped, busy.refused) == (1, 2)


async def test_a_vault_that_refuses_is_said_so() -> None:
    office, _, _ = await an_office_with(1)
    office.sealing.sealing_key.fault = VaultDeniedError("no", code="sealing_key_denied")
    with pytest.raises(VaultDeniedError):
        await office.rewrap(ROOT, new_version=True)


async def test_only_the_platform_admin_may() -> None:
    office, _, _ = await an_office_with(1)
    with pytest.raises(NotPermittedError) as refused:
        await office.rewrap(ALICE, new_version=True)
    assert refused.value.facts == {"permission": "sealing_key.rotate"}
    assert office.sealing.sealing_key.versions == 1


async def test_a_lost_version_of_the_sealing_key_is_an_integrity_error() -> None:
    office, bindings, sealed = await an_office_with(1)
    office.sealing.sealing_key.versions = 0
    with pytest.raises(IntegrityError) as refused:
        await office.sealing.restarted().sealer.open(bindings[0], sealed[0])
    assert refused.value.code == "data_key_unavailable"
