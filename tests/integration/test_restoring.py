"""Purged keys come back from their escrow, with every version that they had: proven by what was signed before."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys.aio import KeyClient
from azure.keyvault.keys.crypto import EncryptionAlgorithm, SignatureAlgorithm

from local.demo.outside import purge
from tests.integration.client import Json
from tests.integration.estate import Estate, Site
from tests.integration.faulty_vaults import in_each
from tests.integration.test_lifecycle import a_place, events, made, sync_finds_nothing
from tests.integration.test_sealing import blobs, content

DIGEST = hashlib.sha256(b"a contract").digest()
#: What is made where, and how it signs.
KINDS: dict[str, tuple[str, Json, SignatureAlgorithm]] = {
    "software RSA": ("standard", {"type": "RSA", "size": 2048, "curve": None}, SignatureAlgorithm.rs256),
    "hardware RSA": ("premium", {"type": "RSA", "size": 2048, "curve": None}, SignatureAlgorithm.rs256),
    "hardware EC": ("premium", {"type": "EC", "curve": "P-256"}, SignatureAlgorithm.es256),
    "managed HSM": ("managed_hsm", {"type": "EC", "curve": "P-256"}, SignatureAlgorithm.es256),
}
VERSIONS, TAGS = 3, {"env": "prod"}


@pytest_asyncio.fixture(scope="module", autouse=True)
async def prompt(site: Site) -> AsyncIterator[None]:
    """Vaults that show soon what they have accepted."""
    await site.control.put("timings", dict.fromkeys(("delete", "recover", "purge"), 0.2))
    yield
    await site.control.put("timings", {})


@dataclass(frozen=True)
class Used:
    """What one version of a key did before the key was lost."""

    version: str
    signature: bytes
    ciphertext: bytes | None


async def used(owner: KeyClient, key: Json, algorithm: SignatureAlgorithm) -> list[Used]:
    """Sign, and where it can encrypt, with every version."""
    found = []
    for version in (one["id"] for one in key["versions"]):
        client = owner.get_cryptography_client("k", key_version=version)
        signature = (await client.sign(algorithm, DIGEST)).signature
        encrypts = "decrypt" in key["operations"]
        ciphertext = (await client.encrypt(EncryptionAlgorithm.rsa_oaep_256, b"x")).ciphertext if encrypts else None
        found.append(Used(version, signature, ciphertext))
    return found


async def assert_usable(owner: KeyClient, before: list[Used], algorithm: SignatureAlgorithm) -> None:
    """Check that every version verifies and opens what it signed and sealed before, and signs anew."""
    for one in before:
        client = owner.get_cryptography_client("k", key_version=one.version)
        assert (await client.verify(algorithm, DIGEST, one.signature)).is_valid
        again = (await client.sign(algorithm, DIGEST)).signature
        assert (await client.verify(algorithm, DIGEST, again)).is_valid
        if one.ciphertext is not None:
            assert (await client.decrypt(EncryptionAlgorithm.rsa_oaep_256, one.ciphertext)).plaintext == b"x"


async def lost(owner: KeyClient, name: str = "k") -> None:
    """Delete and purge a key behind Keysteward's back."""
    await owner.delete_key(name)
    await purge(owner, name)


async def test_a_key_that_was_purged_behind_the_back_is_what_it_was(site: Site) -> None:
    await in_each(site, purged_behind_the_back, [(kind, synced) for kind in KINDS for synced in (True, False)])


async def purged_behind_the_back(estate: Estate, kind: str, synced: bool) -> None:
    sku, members, algorithm = KINDS[kind]
    # A managed HSM rotates by request only what it rotates by itself, too: here its versions are there before.
    seeded = {"name": "k", "versions": VERSIONS, "distinct_material": True, "created_offset": -60, "tags": TAGS}
    vault, group = await a_place(estate, sku, keys=[seeded] if sku == "managed_hsm" else None)
    if sku == "managed_hsm":
        await estate.sync(group)
        path = f"groups/{group}/keys/{(await estate.key(group, 'k'))['id']}"
    else:
        path = await made(estate, group, versions=VERSIONS, tags=TAGS, **members)
    before = await estate.api.get(path)
    async with estate.azure.owner(vault) as owner:
        work = await used(owner, before, algorithm)
        await lost(owner)
        if synced:
            await estate.sync(group)
            assert (await estate.api.get(path))["state"] == "purged"
        back = await estate.api.post(f"{path}/restore")
        await assert_usable(owner, work, algorithm)
    assert (back["id"], back["state"], back["tags"]) == (before["id"], "active", TAGS)
    assert back["versions_total"] == VERSIONS
    assert [one["id"] for one in back["versions"]] == [one["id"] for one in before["versions"]]
    assert [one["public_key"] for one in back["versions"]] == [one["public_key"] for one in before["versions"]]
    assert [one["kind"] for one in back["drift"]] == ["vanished"]
    assert (events(back)[-1], back["history"][0]["detail"]) == ("key.restored", back["escrow"][0]["id"])
    await estate.sync(group, "full")
    assert len((await estate.api.get(path))["drift"]) == 1


async def test_many_versions_come_back(estate: Estate) -> None:
    _, group = await a_place(estate, keys=[{"name": "k", "versions": 60, "created_offset": -60}])
    await estate.sync(group)
    path = f"groups/{group}/keys/{(await estate.key(group, 'k'))['id']}"
    before = [one["id"] for one in await estate.api.pages(f"{path}/versions", limit="50")]
    await estate.api.post(f"{path}/soft-delete", {"acknowledge": True})
    await estate.api.post(f"{path}/purge")
    assert (await estate.api.post(f"{path}/restore"))["versions_total"] == 60
    assert [one["id"] for one in await estate.api.pages(f"{path}/versions", limit="50")] == before
    await sync_finds_nothing(estate, group)


async def test_an_older_generation_brings_back_what_it_has(estate: Estate) -> None:
    _, group = await a_place(estate)
    path = await made(estate, group, versions=3)
    newest, *_, oldest = (await estate.api.get(path))["escrow"]
    assert (len(oldest["versions"]), len(newest["versions"])) == (1, 3)
    await estate.api.post(f"{path}/soft-delete", {"acknowledge": True})
    await estate.api.post(f"{path}/purge")
    other = {"generation": "esc_" + "a" * 24}
    await estate.api.refused("POST", f"{path}/restore", other, status=404, code="escrow_not_found")
    await estate.api.refused("POST", f"{path}/restore", {"generation": "x"}, status=400, code="invalid_field")
    back = await estate.api.post(f"{path}/restore", {"generation": oldest["id"]})
    assert ([one["id"] for one in back["versions"]], back["history"][0]["detail"]) == (
        oldest["versions"], oldest["id"],
    )  # fmt: skip
    assert (await estate.api.get(path))["escrow"][0]["id"] == newest["id"], "the newest escrow still has the others"
    await sync_finds_nothing(estate, group)


async def test_a_key_comes_back_as_it_was_when_it_was_backed_up(estate: Estate) -> None:
    _, group = await a_place(estate)
    path = await made(estate, group, tags={"env": "test"})
    await estate.api.change("PATCH", path, {"tags": {"env": "prod"}})
    await estate.api.post(f"{path}/deactivate", {"reason": "leak"})
    await estate.api.post(f"{path}/soft-delete", {"acknowledge": True})
    await estate.api.post(f"{path}/purge")
    back = await estate.api.post(f"{path}/restore")
    assert (back["state"], back["tags"], back["deactivation"]) == ("active", {"env": "test"}, None)
    assert back["drift"] == []
    await sync_finds_nothing(estate, group)


async def test_another_key_with_the_name_is_left_alone_until_it_has_gone(estate: Estate) -> None:
    vault, group = await a_place(estate)
    old = await made(estate, group, versions=2)
    await estate.api.post(f"{old}/soft-delete", {"acknowledge": True})
    await estate.api.post(f"{old}/purge")
    async with estate.azure.owner(vault) as owner:

        async def create() -> str | None:
            try:
                return (await owner.create_ec_key("k")).properties.version
            except HttpResponseError:
                return None

        version = await estate.site.until(create)
        await estate.api.refused("POST", f"{old}/restore", status=409, code="key_replaced")
        await estate.sync(group)
        by_state = {key["state"]: key for key in await estate.api.pages("keys", group=group)}
        assert by_state.keys() == {"purged", "active"}
        new = f"groups/{group}/keys/{by_state['active']['id']}"
        await estate.api.refused("POST", f"{old}/restore", status=409, code="key_replaced")
        assert (await owner.get_key("k")).properties.version == version
    await estate.api.post(f"{new}/soft-delete", {"acknowledge": True})
    await estate.api.refused("POST", f"{old}/restore", status=409, code="key_replaced")
    await estate.api.post(f"{new}/purge")
    assert (await estate.api.post(f"{old}/restore"))["versions_total"] == 2
    for sort in ("name", "expires_on", "updated_on"):
        listed = await estate.api.pages("keys", sort=sort)
        assert sorted((key["id"], key["state"]) for key in listed) == sorted(
            [(old.rpartition("/")[2], "active"), (by_state["active"]["id"], "purged")]
        )
    assert (await estate.sync(group))["progress"]["counts"] == {"discovered": 1, "unchanged": 1}
    # What is left of the other one ends without touching this one.
    assert (await estate.api.done("DELETE", new)).json["state"] == "destroyed"
    assert {key["state"] for key in await estate.api.pages("keys", group=group)} == {"active", "destroyed"}


@pytest.mark.parametrize("harm", ["altered", "missing"])
async def test_an_escrow_that_is_not_what_was_stored(estate: Estate, harm: str) -> None:
    vault, group = await a_place(estate)
    path = await made(estate, group)
    await estate.api.post(f"{path}/soft-delete", {"acknowledge": True})
    async with blobs(estate.site.stack) as service:
        container = service.get_container_client("escrow")
        names = [name async for name in container.list_blob_names(name_starts_with=estate.account)]
        for name in names:
            if harm == "missing":
                await container.delete_blob(name)
            else:
                altered = (await content(service, "escrow", name)).replace(b'"sealed":"e', b'"sealed":"f')
                await container.upload_blob(name, altered, overwrite=True)
    problem = await estate.api.refused("POST", f"{path}/purge", status=409, code="escrow_needed")
    assert problem["problem"] == f"escrow_{harm}"
    async with estate.azure.owner(vault) as owner:
        await purge(owner, "k")
    await estate.api.refused("POST", f"{path}/restore", status=500, code=f"escrow_{harm}")
    shown = await estate.api.get(path)
    assert (shown["state"], shown["pending"]) == ("purged", None)


async def test_of_a_live_key_another_escrow_is_made_in_place_of_a_harmed_one(estate: Estate) -> None:
    _, group = await a_place(estate)
    path = await made(estate, group)
    (first,) = (await estate.api.get(path))["escrow"]
    async with blobs(estate.site.stack) as service:
        container = service.get_container_client("escrow")
        async for name in container.list_blob_names(name_starts_with=estate.account):
            await container.delete_blob(name)
    await estate.api.post(f"{path}/soft-delete", {"acknowledge": True})
    await estate.api.post(f"{path}/purge")
    back = await estate.api.post(f"{path}/restore")
    assert back["escrow"][0]["id"] != first["id"]


async def test_what_the_vault_does_not_take_is_said(estate: Estate) -> None:
    vault, group = await a_place(estate)
    path = await made(estate, group)
    await estate.api.post(f"{path}/soft-delete", {"acknowledge": True})
    await estate.api.post(f"{path}/purge")
    refusal = {"kind": "respond", "status": 400, "code": "Malformed backup blob"}
    async with estate.azure.fault(vault, refusal, operation="restore_key"):
        await estate.api.refused("POST", f"{path}/restore", status=502, code="restore_refused")
    shown = await estate.api.get(path)
    assert (shown["state"], shown["pending"], events(shown)[-1]) == ("purged", None, "key.restore_not_done")
    assert (await estate.api.post(f"{path}/restore"))["state"] == "active"


async def test_a_destroyed_key_is_gone_from_every_archive(estate: Estate) -> None:
    _, group = await a_place(estate)
    paths = await asyncio.gather(*(made(estate, group, name) for name in ("gone", "kept")))
    gone, _ = (path.rpartition("/")[2] for path in paths)
    await estate.api.post(f"{paths[0]}/soft-delete", {"acknowledge": True})
    await estate.api.post(f"{paths[0]}/purge")
    await estate.api.done("DELETE", paths[0])
    async with blobs(estate.site.stack) as service:
        container = service.get_container_client("escrow")
        names = [name async for name in container.list_blob_names(name_starts_with=estate.account)]
        assert len(names) == 1
        assert gone.encode() not in b"".join([await content(service, "escrow", name) for name in names])
