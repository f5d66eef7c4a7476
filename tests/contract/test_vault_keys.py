"""What changes a vault's keys, on the fake of unit tests and through the Azure adapter on the emulator."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from core.adapters.azure.credentials import AppIdentity
from core.adapters.azure.vaults import AzureVaults
from core.adapters.clock import SystemClock
from core.domain.connections import VaultFacts
from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.keys import KeyVersion, PublicKey, Validity
from core.domain.new_keys import NewVersion, RotationPolicy, VersionChanges
from core.domain.public_keys import ec_public_key, rsa_public_key
from core.domain.secrets import SecretBytes
from core.errors import (
    ConflictError,
    NotFoundError,
    PolicyViolationError,
    VaultAnswerError,
    VaultOutcomeUnknownError,
)
from core.ports import VaultKeys
from local.emulator.client import ControlClient, Endpoints
from tests.adapters.azure.material import CURVES, a_private_jwk, a_transfer_blob
from tests.builders.azure import FULL_CONTROL, AzureWorld
from tests.builders.keys import a_version
from tests.emulator.conftest import start_process
from tests.fakes.vault import FACTS, FakeVault

EC = NewVersion("EC", KeyKind(KeyFamily.EC, curve="P-256"), ("sign", "verify"))
RSA = NewVersion("RSA", KeyKind(KeyFamily.RSA, 2048), ("sign", "verify", "encrypt"))
EXCHANGE = NewVersion("RSA-HSM", KeyKind(KeyFamily.RSA, 2048), ("import",))
NOT_BEFORE, EXPIRES_ON = datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
A_WHILE = 600


class Side(Protocol):
    """A vault with the port to it, and what a test does to it from outside."""

    keys: VaultKeys
    uri: str

    async def slow(self) -> None:
        """Let what comes take a while to show."""

    async def settle(self) -> None:
        """End what is under way, and be prompt from now on."""

    async def protect(self) -> None:
        """Switch purge protection on."""

    async def certificates_key(self, name: str) -> None:
        """Make a key that a certificate manages."""

    async def lose_answer(self, operation: str, wire: str) -> None:
        """Lose the answer of the next request, after its work."""


class FakeSide:
    def __init__(self) -> None:
        self.vault = FakeVault()
        self.keys: VaultKeys = self.vault
        self.uri = FACTS.uri

    async def slow(self) -> None:
        self.vault.slow = True

    async def settle(self) -> None:
        self.vault.slow = False
        self.vault.settle()

    async def protect(self) -> None:
        self.vault.purge_protection = True

    async def certificates_key(self, name: str) -> None:
        self.vault.live[name] = [a_version(managed=True)]

    async def lose_answer(self, operation: str, wire: str) -> None:
        def lost(done: str, name: str) -> None:
            if done == operation:
                raise VaultOutcomeUnknownError("lost")

        self.vault.after = lost


class EmulatorSide:
    def __init__(self, azure: AzureWorld, vault: VaultFacts, keys: VaultKeys) -> None:
        self.azure, self.vault, self.keys, self.uri = azure, vault, keys, vault.uri

    async def slow(self) -> None:
        await self.azure.control.put("timings", dict.fromkeys(("delete", "recover", "purge"), A_WHILE))

    async def settle(self) -> None:
        await prompt(self.azure.control)
        now = (await self.azure.control.get("clock"))["offset_seconds"]
        await self.azure.control.put("clock", {"offset_seconds": now + A_WHILE + 1})

    async def protect(self) -> None:
        await self.azure.control.patch(f"vaults/{self.vault.name}", {"purge_protection": True})

    async def certificates_key(self, name: str) -> None:
        await self.azure.seed(self.vault, {"name": name, "managed": True})

    async def lose_answer(self, operation: str, wire: str) -> None:
        await self.azure.fault(action={"kind": "cut_after"}, vault=self.vault.name, operation=wire, count=1)


async def prompt(control: ControlClient) -> None:
    await control.put("timings", {"delete": 0, "recover": 0, "purge": 0})


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    running = start_process(tmp_path_factory.mktemp("vault-contract"), "--ephemeral")
    yield running.endpoints
    assert running.stop() == 0


@pytest.fixture(params=["fake", "azure"])
async def side(request: pytest.FixtureRequest) -> AsyncIterator[Side]:
    if request.param == "fake":
        yield FakeSide()
        return
    endpoints: Endpoints = request.getfixturevalue("endpoints")
    async with aiohttp.ClientSession() as session:
        azure = AzureWorld(endpoints, ControlClient(endpoints.control_url, session))
        await prompt(azure.control)
        application = await azure.application()
        permissions = sorted(FULL_CONTROL | {"rotate", "getrotationpolicy", "setrotationpolicy"})
        policy = {"object_id": application.object_id, "keys": permissions}
        vault = await azure.vault(application, sku="premium", access_policies=[policy])
        vaults = AzureVaults(SystemClock(), AppIdentity())
        async with vaults.keys("grp_contract", azure.connection(application), vault) as keys:
            with pytest.raises(NotFoundError):
                await keys.get_deleted("nowhere")
            yield EmulatorSide(azure, vault, keys)
        await vaults.close()
        await azure.control.delete("faults")


async def names(side: Side) -> tuple[list[str], list[str]]:
    live = [key.name async for page in side.keys.list_keys() for key in page.keys]
    return live, [key.name async for page in side.keys.list_deleted() for key in page.keys]


async def conflict(call: Any) -> str:
    with pytest.raises(ConflictError) as caught:
        await call
    return caught.value.code


async def missing(call: Any) -> str:
    with pytest.raises(NotFoundError) as caught:
        await call
    return caught.value.code


# --- making versions ---------------------------------------------------------------------------------------------


async def test_a_key_is_as_it_was_asked_for(side: Side) -> None:
    validity = Validity(enabled=False, not_before=NOT_BEFORE, expires_on=EXPIRES_ON)
    new = replace(RSA, validity=validity, tags=(("team", "payments"), ("env", "prod")))
    listed, version = await side.keys.create("db-key", new)
    assert (listed.name, listed.validity, listed.deletion) == ("db-key", validity, None)
    assert (version.type, version.size, version.operations) == ("RSA", 2048, ("encrypt", "sign", "verify"))
    assert (version.validity, version.tags) == (validity, (("env", "prod"), ("team", "payments")))
    assert version.public_key.n is not None
    assert version.public_key.thumbprint is not None
    assert len(version.id) == 32
    assert await side.keys.get_version("db-key", None) == (listed, version)
    assert await names(side) == (["db-key"], [])


@pytest.mark.parametrize("curve", CURVES)
async def test_curves(side: Side, curve: str) -> None:
    _, version = await side.keys.create("k", NewVersion("EC-HSM", KeyKind(KeyFamily.EC, curve=curve), ("sign",)))
    assert (version.type, version.public_key.curve) == ("EC-HSM", curve)
    assert version.size == CURVES[curve].key_size


async def test_a_name_that_is_there_gets_a_new_version(side: Side) -> None:
    _, first = await side.keys.create("k", EC)
    listed, second = await side.keys.create("K", replace(EC, tags=(("a", "1"),)))
    assert (listed.name.lower(), second.tags, (await side.keys.get_version("k", None))[1]) == ("k", second.tags, second)
    assert {version.id for version in await side.keys.list_versions("k")} == {first.id, second.id}
    assert (await side.keys.get_version("k", first.id))[1] == first
    assert second.created_on >= first.created_on


def of_rsa(key: rsa.RSAPrivateKey) -> PublicKey:
    return rsa_public_key(key.public_key().public_numbers().n.to_bytes(key.key_size // 8), b"\x01\x00\x01")


def of_ec(curve: str, key: ec.EllipticCurvePrivateKey) -> PublicKey:
    point = key.public_key().public_numbers()
    return ec_public_key(curve, *(number.to_bytes((key.key_size + 7) // 8) for number in (point.x, point.y)))


@pytest.mark.parametrize("type_", ["RSA", "RSA-HSM"])
async def test_imported_rsa_material_is_the_same_key(side: Side, type_: str) -> None:
    key = rsa.generate_private_key(65537, 2048)
    _, version = await side.keys.import_key("k", replace(RSA, type=type_), a_private_jwk(key))
    assert (version.type, version.size, version.public_key) == (type_, 2048, of_rsa(key))
    assert version.operations == ("encrypt", "sign", "verify")


@pytest.mark.parametrize("curve", CURVES)
async def test_imported_ec_material_is_the_same_key(side: Side, curve: str) -> None:
    key = ec.generate_private_key(CURVES[curve])
    new = replace(EC, kind=KeyKind(KeyFamily.EC, curve=curve), tags=(("a", "1"),))
    _, version = await side.keys.import_key("k", new, a_private_jwk(key))
    assert (version.public_key, version.tags) == (of_ec(curve, key), (("a", "1"),))


async def exchange_key(side: Side, name: str = "kek") -> tuple[str, str, PublicKey]:
    _, version = await side.keys.create(name, EXCHANGE)
    assert version.operations == ("import",)
    return name, version.id, version.public_key


async def test_material_in_a_transfer_blob_is_the_same_key(side: Side) -> None:
    exchange = await exchange_key(side)
    key = rsa.generate_private_key(65537, 2048)
    blob = a_transfer_blob(side.uri, exchange, key)
    _, version = await side.keys.import_transfer_blob("k", replace(RSA, type="RSA-HSM"), blob)
    assert (version.type, version.public_key) == ("RSA-HSM", of_rsa(key))
    for curve in CURVES:
        kind, point = KeyKind(KeyFamily.EC, curve=curve), ec.generate_private_key(CURVES[curve])
        blob = a_transfer_blob(side.uri, exchange, point)
        _, version = await side.keys.import_transfer_blob("e", replace(EC, type="EC-HSM", kind=kind), blob)
        assert version.public_key == of_ec(curve, point)


async def test_a_transfer_blob_that_does_not_open_is_refused(side: Side) -> None:
    name, version, public = await exchange_key(side)
    target = ec.generate_private_key(ec.SECP256R1())
    good = json.loads(a_transfer_blob(side.uri, (name, version, public), target))
    new = replace(EC, type="EC-HSM")
    for blob in (
        b"no JSON",
        a_transfer_blob(side.uri, (name, "0" * 32, public), target),
        a_transfer_blob(side.uri, (name, version, public), b"no key"),
        json.dumps({**good, "ciphertext": good["ciphertext"][:-12] + "A" * 12}).encode(),
        a_transfer_blob(side.uri, (name, version, public), rsa.generate_private_key(65537, 2048)),
    ):
        with pytest.raises(PolicyViolationError) as caught:
            await side.keys.import_transfer_blob("k", new, blob)
        assert (caught.value.code, caught.value.facts) == ("vault_refused", {"azure_code": "BadParameter"})
    await missing(side.keys.get_version("k", None))


@pytest.mark.parametrize(
    ("operation", "wire"),
    [("create", "create_key"), ("import_key", "import_key"), ("rotate", "rotate_key")],
)
async def test_a_version_whose_answer_was_lost_is_there(side: Side, operation: str, wire: str) -> None:
    await side.keys.create("k", EC)
    await side.lose_answer(operation, wire)
    calls: dict[str, Callable[[], Any]] = {
        "create": lambda: side.keys.create("k", EC),
        "import_key": lambda: side.keys.import_key("k", EC, a_private_jwk(ec.generate_private_key(ec.SECP256R1()))),
        "rotate": lambda: side.keys.rotate("k"),
    }
    with pytest.raises(VaultOutcomeUnknownError) as caught:
        await calls[operation]()
    assert caught.value.code == "vault_outcome_unknown"
    assert len(await side.keys.list_versions("k")) == 2


# --- changing versions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (VersionChanges(enabled=False), {"validity": Validity(enabled=False)}),
        (
            VersionChanges(not_before=NOT_BEFORE, expires_on=EXPIRES_ON),
            {"validity": Validity(not_before=NOT_BEFORE, expires_on=EXPIRES_ON)},
        ),
        (VersionChanges(operations=("verify",)), {"operations": ("verify",)}),
        (VersionChanges(tags=(("b", "2"), ("a", "1"))), {"tags": (("a", "1"), ("b", "2"))}),
        (VersionChanges(tags=()), {"tags": ()}),
        (VersionChanges(), {}),
    ],
)
async def test_an_update_changes_what_it_names(
    side: Side, changes: VersionChanges, expected: dict[str, object]
) -> None:
    _, first = await side.keys.create("k", replace(EC, tags=(("old", "tag"),)))
    _, second = await side.keys.create("k", EC)
    listed, updated = await side.keys.update("k", first.id, changes)
    assert (listed.name, listed.validity) == ("k", updated.validity)
    assert updated == replace(first, updated_on=updated.updated_on, **expected)
    assert updated.updated_on >= first.updated_on
    assert (await side.keys.get_version("k", first.id))[1] == updated
    assert (await side.keys.get_version("k", None))[1] == second


async def test_a_rotated_key_has_new_material_of_the_same_kind(side: Side) -> None:
    _, old = await side.keys.create("k", replace(RSA, tags=(("a", "1"),)))
    listed, new = await side.keys.rotate("k")
    assert new.public_key.thumbprint != old.public_key.thumbprint
    assert (new.type, new.size, new.operations, new.tags) == (old.type, old.size, old.operations, old.tags)
    assert (listed.name, new.validity) == ("k", Validity())
    assert (await side.keys.get_version("k", None))[1] == new
    assert {version.id for version in await side.keys.list_versions("k")} == {old.id, new.id}


async def test_rotation_policies(side: Side) -> None:
    await side.keys.create("k", EC)
    assert await side.keys.rotation_policy("k") == RotationPolicy()
    assert not (await side.keys.rotation_policy("k")).rotates
    for policy in (
        RotationPolicy(rotate_before_expiry="P30D", expires_after="P90D"),
        RotationPolicy(rotate_after_creation="P30D", expires_after="P60D"),
    ):
        assert await side.keys.set_rotation_policy("k", policy) == policy
        assert await side.keys.rotation_policy("k") == policy
    _, version = await side.keys.rotate("k")
    assert version.validity.expires_on == version.created_on + timedelta(days=60)
    assert await side.keys.set_rotation_policy("k", RotationPolicy()) == RotationPolicy()


async def test_what_is_not_there_cannot_be_changed(side: Side) -> None:
    _, version = await side.keys.create("k", EC)
    calls = (
        side.keys.update("nowhere", version.id, VersionChanges(enabled=False)),
        side.keys.update("k", "0" * 32, VersionChanges(enabled=False)),
        side.keys.rotate("nowhere"),
        side.keys.delete("nowhere"),
        side.keys.recover("nowhere"),
        side.keys.recover("k"),
        side.keys.purge("nowhere"),
        side.keys.purge("k"),
        side.keys.rotation_policy("nowhere"),
        side.keys.set_rotation_policy("nowhere", RotationPolicy("P30D")),
        side.keys.get_version("k", "0" * 32),
    )
    assert {await missing(call) for call in calls} == {"key_not_found"}


# --- deletion ----------------------------------------------------------------------------------------------------


async def test_deletion_and_recovery_keep_every_version(side: Side) -> None:
    _, first = await side.keys.create("k", replace(EC, tags=(("a", "1"),)))
    _, second = await side.keys.create("k", EC)
    listed, shown = await side.keys.delete("K")
    assert (shown.id, listed.deletion is not None) == (second.id, True)
    assert listed.deletion is not None
    assert listed.deletion.deleted_on is not None
    assert listed.deletion.scheduled_purge_on == listed.deletion.deleted_on + timedelta(days=90)
    assert (await names(side)) == ([], ["k"])
    assert await side.keys.get_deleted("k") == (listed, shown)
    await missing(side.keys.get_version("k", None))
    await missing(side.keys.list_versions("k"))
    await missing(side.keys.delete("k"))

    listed, shown = await side.keys.recover("k")
    assert (listed.deletion, shown) == (None, second)
    assert (await names(side)) == (["k"], [])
    assert (await side.keys.get_version("k", first.id))[1] == first
    await missing(side.keys.get_deleted("k"))


async def test_the_name_of_a_deleted_key_is_taken(side: Side) -> None:
    exchange = await exchange_key(side)
    key = ec.generate_private_key(ec.SECP256R1())
    blob = a_transfer_blob(side.uri, exchange, key)
    _, version = await side.keys.create("k", EC)
    await side.keys.delete("k")
    calls = (
        side.keys.create("K", EC),
        side.keys.import_key("k", EC, a_private_jwk(key)),
        side.keys.import_transfer_blob("k", replace(EC, type="EC-HSM"), blob),
        side.keys.update("k", version.id, VersionChanges(enabled=False)),
        side.keys.rotate("k"),
        side.keys.set_rotation_policy("k", RotationPolicy("P30D")),
    )
    assert {await conflict(call) for call in calls} == {"key_soft_deleted"}


async def test_a_purged_name_is_free(side: Side) -> None:
    _, old = await side.keys.create("k", EC)
    await side.keys.delete("k")
    await side.keys.purge("k")
    await missing(side.keys.get_deleted("k"))
    await missing(side.keys.purge("k"))
    _, new = await side.keys.create("k", EC)
    assert new.id != old.id
    assert len(await side.keys.list_versions("k")) == 1


async def test_purge_protection(side: Side) -> None:
    await side.keys.create("k", EC)
    await side.keys.delete("k")
    await side.protect()
    assert await conflict(side.keys.purge("k")) == "purge_protected"
    await side.keys.recover("k")


async def test_a_certificates_key_cannot_be_deleted(side: Side) -> None:
    await side.certificates_key("k")
    assert (await side.keys.get_version("k", None))[1].managed
    assert await conflict(side.keys.delete("k")) == "key_managed"


async def test_a_restore_brings_everything_back(side: Side) -> None:
    versions = [(await side.keys.create("k", replace(EC, tags=(("n", str(number)),))))[1] for number in range(3)]
    backup = await side.keys.back_up("k")
    await side.keys.update("k", versions[0].id, VersionChanges(enabled=False))
    await side.keys.delete("k")
    await side.keys.purge("k")
    listed, shown = await side.keys.restore(backup)
    assert (listed.name, listed.deletion, shown) == ("k", None, versions[-1])
    found = [(await side.keys.get_version("k", version.id))[1] for version in versions]
    assert found == versions


async def test_a_restore_needs_a_free_name(side: Side) -> None:
    await side.keys.create("k", EC)
    backup = await side.keys.back_up("k")
    assert await conflict(side.keys.restore(backup)) == "vault_conflict"
    await side.keys.delete("k")
    assert await conflict(side.keys.restore(backup)) == "vault_conflict"
    await side.keys.purge("k")
    await side.keys.restore(backup)


async def test_what_is_no_backup_is_refused(side: Side) -> None:
    with pytest.raises(VaultAnswerError) as caught:
        await side.keys.restore(SecretBytes(b"no backup"))
    assert caught.value.code == "restore_refused"


# --- while something is under way --------------------------------------------------------------------------------


async def deleted(side: Side, name: str) -> tuple[KeyVersion, SecretBytes]:
    _, version = await side.keys.create(name, EC)
    backup = await side.keys.back_up(name)
    await side.keys.delete(name)
    return version, backup


async def test_while_a_deletion_is_under_way(side: Side) -> None:
    await side.slow()
    version, backup = await deleted(side, "k")
    await missing(side.keys.get_version("k", None))
    await missing(side.keys.get_deleted("k"))
    assert await names(side) == ([], [])
    update = side.keys.update("k", version.id, VersionChanges(enabled=False))
    calls = (side.keys.create("k", EC), update, side.keys.rotate("k"), side.keys.delete("k"), side.keys.recover("k"))
    assert {await conflict(call) for call in (*calls, side.keys.purge("k"))} == {"key_being_deleted"}
    assert await conflict(side.keys.restore(backup)) == "vault_conflict"
    await side.settle()
    assert (await side.keys.get_deleted("k"))[1] == version
    assert await conflict(side.keys.create("k", EC)) == "key_soft_deleted"


async def test_while_a_recovery_is_under_way(side: Side) -> None:
    version, backup = await deleted(side, "k")
    await side.slow()
    await side.keys.recover("k")
    await missing(side.keys.get_version("k", None))
    await missing(side.keys.get_deleted("k"))
    assert await names(side) == ([], [])
    update = side.keys.update("k", version.id, VersionChanges(enabled=False))
    calls = (side.keys.create("k", EC), update, side.keys.rotate("k"), side.keys.delete("k"), side.keys.recover("k"))
    assert {await conflict(call) for call in calls} == {"key_being_recovered"}
    assert await conflict(side.keys.restore(backup)) == "vault_conflict"
    await side.settle()
    assert (await side.keys.get_version("k", None))[1] == version


async def test_while_a_purge_is_under_way(side: Side) -> None:
    _, backup = await deleted(side, "k")
    await side.slow()
    await side.keys.purge("k")
    await missing(side.keys.get_deleted("k"))
    assert await conflict(side.keys.create("k", EC)) == "key_being_deleted"
    assert await conflict(side.keys.restore(backup)) == "vault_conflict"
    await side.settle()
    await side.keys.restore(backup)
