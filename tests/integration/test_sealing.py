"""Sealing over HTTP: what is sealed opens under old and new versions of the sealing key, or says clearly why not."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.keyvault.keys.aio import KeyClient
from azure.keyvault.keys.crypto import KeyWrapAlgorithm, SignatureAlgorithm
from azure.keyvault.keys.crypto.aio import CryptographyClient
from azure.storage.blob.aio import BlobServiceClient
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from local.demo.outside import purge
from local.emulator.seeds import IDENTITY_OBJECT_ID, PLATFORM_VAULT
from local.stack import IdentityCredential, Stack
from tests.integration.azure import Vault
from tests.integration.client import Json
from tests.integration.estate import Estate, Site

ROTATE = "platform/sealing-key/rotate"
ROLES = ["Key Vault Crypto User", "Key Vault Crypto Officer"]
DIGEST = hashlib.sha256(b"a contract").digest()
VERSIONS = 3


@dataclass(frozen=True)
class Custody:
    """A group with a synced key of three versions, whose client secret and escrow are sealed."""

    estate: Estate
    vault: Vault
    group: str
    key: Json

    @property
    def path(self) -> str:
        return f"groups/{self.group}"

    async def still_opens(self) -> None:
        """The client secret opens, so that a sync reaches the vault; and the escrow is what was written."""
        assert (await self.estate.api.post(f"{self.path}/connection/test"))["result"] == "connected"
        await self.estate.sync(self.group, "full")
        key = await self.estate.key(self.group, "root")
        assert key["escrow"] == self.key["escrow"]
        await opened_by_hand(self.estate, key)


async def custody(estate: Estate, sku: str = "premium") -> Custody:
    seed = {"name": "root", "kty": "EC-HSM", "versions": VERSIONS, "distinct_material": True}
    vault = await estate.azure.vault(sku, keys=[seed])
    group = await estate.link(vault)
    await estate.sync(group)
    return Custody(estate, vault, group, await estate.key(group, "root"))


@asynccontextmanager
async def blobs(stack: Stack) -> AsyncIterator[BlobServiceClient]:
    url = stack.app_settings["AzureWebJobsStorage__blobServiceUri"]
    async with BlobServiceClient(
        url, IdentityCredential(stack.endpoints), connection_verify=str(stack.ca_file)
    ) as service:
        yield service


async def content(service: BlobServiceClient, container: str, name: str) -> bytes:
    return bytes(await (await service.get_blob_client(container, name).download_blob()).readall())


async def data_key_records(estate: Estate) -> dict[str, Json]:
    """The account's wrapped data keys as they lie in storage, by name."""
    async with blobs(estate.site.stack) as service:
        names = service.get_container_client("sealing").list_blob_names(name_starts_with=estate.account)
        return {name: json.loads(await content(service, "sealing", name)) async for name in names}


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def unwrapped(stack: Stack, record: Json) -> bytes:
    """The data key, as the platform vault unwraps it for whoever may use the sealing key."""
    credential, ca = IdentityCredential(stack.endpoints), str(stack.ca_file)
    client = CryptographyClient(
        record["sealing_key"], credential, connection_verify=ca, verify_challenge_resource=False
    )
    async with client:
        return (await client.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, decoded(record["wrapped"]))).key


async def opened_by_hand(estate: Estate, key: Json) -> tuple[Json, bytes]:
    """A key's newest escrow as docs/escrow.md says: two containers, the sealing key, and no part of Keysteward."""
    generation = key["escrow"][0]
    async with blobs(estate.site.stack) as service:
        archive = await content(service, "escrow", generation["archive"])
    lines = [
        line for line in archive.splitlines(keepends=True) if hashlib.sha256(line).hexdigest() == generation["digest"]
    ]
    assert [len(line) for line in lines] == [generation["length"]]
    entry = json.loads(lines[0])
    manifest, (header, wrapped, nonce, ciphertext, tag) = entry["manifest"], entry["sealed"].split(".")

    protected = json.loads(decoded(header))
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    version = f"{generation['id']}.{hashlib.sha256(canonical).hexdigest()}"
    bound = {"account": estate.account, "purpose": "escrow", "object_id": key["id"], "version": version}
    data_key_id = protected.pop("kid")
    assert protected == {"alg": "A256KW", "enc": "A256GCM", **bound}

    record = (await data_key_records(estate))[f"{estate.account}/{data_key_id}.json"]
    data_key = await unwrapped(estate.site.stack, record)
    backup = AESGCM(aes_key_unwrap(data_key, decoded(wrapped))).decrypt(
        decoded(nonce), decoded(ciphertext) + decoded(tag), header.encode()
    )
    assert hashlib.sha256(backup).hexdigest() == manifest["backup_digest"]
    middle = len(backup) // 2
    estate.site.ledger.add_bytes("data key", data_key)
    estate.site.ledger.add_bytes("vault's backup", backup[middle : middle + 48])
    return manifest, backup


async def rotate(site: Site, body: Json | None = None) -> Json:
    result: Json = await (await site.user("alice")).post(ROTATE, body)
    return result


@asynccontextmanager
async def unwrapping_fails(site: Site) -> AsyncIterator[None]:
    """Let the platform vault be too busy to unwrap, for longer than a client waits."""
    action = {"kind": "respond", "status": 503, "code": "Busy", "headers": {"retry-after": "60"}}
    rule = {"service": "keyvault", "vault": PLATFORM_VAULT, "operation": "unwrap_key", "action": action}
    made = await site.control.post("faults", rule)
    try:
        yield
    finally:
        await site.control.delete(f"faults/{made['id']}")


@asynccontextmanager
async def without_the_sealing_key(site: Site) -> AsyncIterator[None]:
    """Take its roles on the platform vault from the app's identity."""
    path, identity = f"vaults/{PLATFORM_VAULT}/permissions", {"object_id": IDENTITY_OBJECT_ID}
    await site.control.post(path, {**identity, "revoke": ROLES})
    try:
        yield
    finally:
        await site.control.post(path, {**identity, "grant": ROLES})


async def test_two_rotations_leave_everything_readable(estate: Estate) -> None:
    site, held = estate.site, await custody(estate)
    [(name, first)] = (await data_key_records(estate)).items()
    for _ in range(2):
        result = await rotate(site)
        assert result["failed"] == []
        assert (result["rewrapped"] > 0, result["current"]) == (True, 0)
        [(same, record)] = (await data_key_records(estate)).items()
        assert (same, record["sealing_key"]) == (name, result["sealing_key"])
        assert record["wrapped"] != first["wrapped"]
        await held.still_opens()
    again = await rotate(site, {"new_version": False})
    assert (again["sealing_key"], again["rewrapped"], again["failed"]) == (result["sealing_key"], 0, [])
    await site.restart_host()
    await held.still_opens()


async def test_what_was_not_rewrapped_is_read_under_the_old_version(estate: Estate) -> None:
    site, held = estate.site, await custody(estate)
    before = await data_key_records(estate)
    async with unwrapping_fails(site):
        result = await rotate(site)
    mine = [failure for failure in result["failed"] if failure["account"] == estate.account]
    assert [failure["code"] for failure in mine] == ["sealing_key_unavailable"]
    assert await data_key_records(estate) == before
    assert before[f"{estate.account}/{mine[0]['data_key']}.json"]["sealing_key"] != result["sealing_key"]
    await site.restart_host()
    await held.still_opens()

    resumed = await rotate(site, {"new_version": False})
    assert (resumed["sealing_key"], resumed["failed"]) == (result["sealing_key"], [])
    assert {record["sealing_key"] for record in (await data_key_records(estate)).values()} == {result["sealing_key"]}
    await held.still_opens()


async def test_a_sealing_key_that_is_denied_or_busy_is_said_so_and_nothing_is_lost(estate: Estate) -> None:
    site, held = estate.site, await custody(estate)
    alice = await site.user("alice")
    accounts = await alice.pages("accounts", limit="200")
    read = {path: (await estate.api.done("GET", path)).content for path in ("keys", "groups", held.path)}
    # A new process holds no data key in memory.
    await site.restart_host()
    async with unwrapping_fails(site):
        reply = await estate.api.send("POST", f"{held.path}/connection/test")
        assert (reply.status, reply.json["code"]) == (503, "sealing_key_unavailable")
        assert int(reply.headers["Retry-After"]) > 0
    async with without_the_sealing_key(site):
        denied: dict[str, Any] = {"status": 502, "code": "sealing_key_denied"}
        await estate.api.refused("POST", f"{held.path}/connection/test", **denied)
        await estate.api.refused("POST", "groups", new_group(estate), **denied)
        await alice.refused("POST", "accounts", {"title": "One more"}, **denied)
        await alice.refused("POST", ROTATE, **denied)
        job = await estate.ended(await estate.start(held.group))
        assert (job["status"], [error["code"] for error in job["progress"]["errors"]]) == (
            "failed",
            ["sealing_key_denied"],
        )
        # What needs no secret is read as ever.
        assert (await estate.api.done("GET", "keys")).content == read["keys"]
        assert "sync_failed" in await estate.findings(held.group)
    assert await alice.pages("accounts", limit="200") == accounts
    await held.still_opens()
    assert "sync_failed" not in await estate.findings(held.group)
    assert (await estate.api.post("groups", new_group(estate)))["connection_state"] == "connected"


def new_group(estate: Estate) -> Json:
    return {"kind": "azure", "title": "Another", "connection": estate.azure.connection()}


async def restore(client: KeyClient, backup: bytes) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await client.restore_key_backup(backup)
            except ResourceExistsError:
                # A name is free some time after its purge only.
                await asyncio.sleep(0.2)
            else:
                return


@pytest.mark.parametrize("sku", ["premium", "managed_hsm"])
async def test_a_purged_key_is_brought_back_from_its_escrow(estate: Estate, sku: str) -> None:
    held = await custody(estate, sku)
    await rotate(estate.site)
    ids = {version["id"] for version in held.key["versions"]}
    assert len(ids) == VERSIONS
    async with estate.azure.owner(held.vault) as owner:
        signatures = {
            id_: (await owner.get_cryptography_client("root", key_version=id_).sign(SignatureAlgorithm.es256, DIGEST))
            for id_ in ids
        }
        await owner.delete_key("root")
        await purge(owner, "root")
        await estate.sync(held.group)
        purged = await estate.key(held.group, "root")
        assert (purged["state"], purged["escrow"]) == ("purged", held.key["escrow"])

        manifest, backup = await opened_by_hand(estate, purged)
        assert manifest["azure_name"] == "root"
        assert set(manifest["versions"]) == ids
        assert (manifest["vault_id"], manifest["vault_type"]) == (held.vault.resource_id, sku)
        await restore(owner, backup)
        assert {version.version async for version in owner.list_properties_of_key_versions("root")} == ids
        for id_, signed in signatures.items():
            version = owner.get_cryptography_client("root", key_version=id_)
            assert (await version.verify(SignatureAlgorithm.es256, DIGEST, signed.signature)).is_valid
            assert (await version.sign(SignatureAlgorithm.es256, DIGEST)).key_id == signed.key_id
    await estate.sync(held.group)
    restored = await estate.key(held.group, "root")
    assert (restored["id"], restored["state"]) == (held.key["id"], "active")
    assert [drift["kind"] for drift in restored["drift"]] == ["restored", "vanished"]
    assert restored["versions"] == held.key["versions"]
