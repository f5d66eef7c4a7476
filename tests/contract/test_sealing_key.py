"""The sealing key in the emulated platform vault, through the SDK: wrapping, versions, and every way to fail."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from core.adapters.blobs import ContainerBlobs
from core.adapters.clock import SystemClock
from core.adapters.data_key_records import BlobDataKeyRecords
from core.adapters.data_keys import CachedDataKeys
from core.adapters.sealing import JweSealer
from core.adapters.sealing_key import VaultSealingKey, open_sealing_key
from core.adapters.storage import Storage
from core.domain.accounts import Account
from core.domain.identifiers import IdKind, new_id
from core.domain.sealing import ESCROW
from core.domain.secrets import SecretBytes
from core.errors import IntegrityError, KeystewardError, VaultAnswerError, VaultDeniedError, VaultUnavailableError
from core.ports import Binding
from core.services.rewrap import RewrapDataKeys
from core.settings import Settings
from local.emulator import seeds
from local.emulator.client import ControlClient
from local.stack import IdentityCredential, Stack
from tests.builders.people import ROOT, Office
from tests.fakes.storage import MemoryCollection

DATA_KEY = SecretBytes(bytes(range(32)))
PLATFORM = {"service": "keyvault", "vault": seeds.PLATFORM_VAULT}


@pytest_asyncio.fixture(scope="session")
async def session(stack: Stack) -> AsyncIterator[aiohttp.ClientSession]:
    trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=stack.ca_file))
    async with aiohttp.ClientSession(connector=trust, auto_decompress=False, trust_env=False) as opened:
        yield opened


@pytest.fixture
def sealing_key(stack: Stack, session: aiohttp.ClientSession) -> VaultSealingKey:
    """A sealing key in a process that has called nothing yet."""
    settings = Settings.read(stack.app_settings)
    credential = IdentityCredential(stack.endpoints)
    return open_sealing_key(settings.sealing_key, settings.cloud, credential, session, SystemClock())


@asynccontextmanager
async def faulty(stack: Stack, rule: dict[str, Any]) -> AsyncIterator[None]:
    async with aiohttp.ClientSession() as session:
        control = ControlClient(stack.control_url, session)
        await control.post("faults", PLATFORM | rule)
        try:
            yield
        finally:
            await control.delete("faults")


async def test_what_an_older_version_wrapped_is_unwrapped_after_a_rotation(sealing_key: VaultSealingKey) -> None:
    old = await sealing_key.newest()
    wrapped = await sealing_key.wrap(old, DATA_KEY)
    new = await sealing_key.rotate()
    assert new != old
    assert await sealing_key.newest() == new
    assert await sealing_key.unwrap(old, wrapped) == DATA_KEY
    assert await sealing_key.unwrap(new, await sealing_key.wrap(new, DATA_KEY)) == DATA_KEY
    with pytest.raises(IntegrityError):
        await sealing_key.unwrap(new, wrapped)


async def test_a_version_is_asked_of_the_configured_vault_only(sealing_key: VaultSealingKey) -> None:
    newest = await sealing_key.newest()
    wrapped = await sealing_key.wrap(newest, DATA_KEY)
    moved = "https://attacker.example/keys/" + newest.partition("/keys/")[2]
    assert await sealing_key.unwrap(moved, wrapped) == DATA_KEY


@pytest.mark.parametrize("id_", ["", "nonsense", "https://vault.example/keys/other/00000000000000000000000000000001"])
async def test_another_key_is_never_asked(sealing_key: VaultSealingKey, id_: str) -> None:
    with pytest.raises(IntegrityError) as refused:
        await sealing_key.unwrap(id_, b"x" * 384)
    assert refused.value.code == "data_key_unavailable"


async def test_a_wrapped_key_that_was_altered_is_an_integrity_error(sealing_key: VaultSealingKey) -> None:
    newest = await sealing_key.newest()
    wrapped = bytearray(await sealing_key.wrap(newest, DATA_KEY))
    wrapped[100] ^= 1
    with pytest.raises(IntegrityError) as refused:
        await sealing_key.unwrap(newest, bytes(wrapped))
    assert refused.value.code == "data_key_unavailable"


async def test_a_version_that_is_not_there_is_said_so(sealing_key: VaultSealingKey) -> None:
    missing = (await sealing_key.newest()).rsplit("/", 1)[0] + "/" + "0" * 32
    with pytest.raises(VaultAnswerError) as refused:
        await sealing_key.unwrap(missing, b"x" * 384)
    assert refused.value.code == "sealing_key_unusable"


@pytest.mark.parametrize(
    ("action", "error", "code"),
    [
        ({"kind": "respond", "status": 403, "code": "Forbidden"}, VaultDeniedError, "sealing_key_denied"),
        (
            {"kind": "respond", "status": 503, "code": "Busy", "headers": {"retry-after": "60"}},
            VaultUnavailableError,
            "sealing_key_unavailable",
        ),
    ],
)
async def test_refusals_are_told_apart(
    stack: Stack, sealing_key: VaultSealingKey, action: dict[str, Any], error: type[KeystewardError], code: str
) -> None:
    newest = await sealing_key.newest()
    wrapped = await sealing_key.wrap(newest, DATA_KEY)
    async with faulty(stack, {"operation": "unwrap_key", "action": action}):
        with pytest.raises(error) as refused:
            await sealing_key.unwrap(newest, wrapped)
    assert refused.value.code == code


async def test_a_lost_answer_is_asked_for_again(stack: Stack, sealing_key: VaultSealingKey) -> None:
    newest = await sealing_key.newest()
    wrapped = await sealing_key.wrap(newest, DATA_KEY)
    async with faulty(stack, {"operation": "unwrap_key", "count": 2, "action": {"kind": "cut_after"}}):
        assert await sealing_key.unwrap(newest, wrapped) == DATA_KEY


async def test_sealed_before_a_rotation_opens_after_it(storage: Storage, sealing_key: VaultSealingKey) -> None:
    account, clock = new_id(IdKind.ACCOUNT), SystemClock()
    records = BlobDataKeyRecords(ContainerBlobs(storage.container("sealing")))
    accounts: MemoryCollection[Account] = MemoryCollection()
    data_keys = CachedDataKeys(records, sealing_key, clock)
    row = Account(account, "Contoso", clock.now(), await data_keys.create(account))
    await accounts.insert("account", account, row)
    binding = Binding(account, ESCROW, "key_1", "esc_1")
    sealed = await JweSealer(data_keys, accounts, clock).seal(binding, SecretBytes(b"backup"))

    result = await RewrapDataKeys(Office().access, records, sealing_key)(ROOT, new_version=True)
    assert result.failed == ()
    assert (await records.read(account, row.data_key)).value.sealing_key == result.sealing_key
    restarted = JweSealer(CachedDataKeys(records, sealing_key, clock), accounts, clock)
    assert (await restarted.open(binding, sealed)).reveal() == b"backup"
    with pytest.raises(IntegrityError):
        await restarted.open(replace(binding, version="esc_2"), sealed)
