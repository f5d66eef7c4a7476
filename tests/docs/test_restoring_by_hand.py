"""The emergency procedure of docs/escrow.md: two containers, the sealing key, and nothing else of Keysteward."""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from azure.core.exceptions import ResourceExistsError
from azure.identity.aio import ClientSecretCredential
from azure.keyvault.keys.aio import KeyClient
from azure.storage.blob.aio import BlobServiceClient

from local.emulator import seeds
from local.emulator.client import ControlClient
from local.stack import IdentityCredential, Stack
from tests.docs.pages import DOCS, code_blocks

KEY = "root"
VAULT = "by-hand"


@dataclass(frozen=True)
class Linked:
    """A vault with one key of three versions, linked and synced."""

    client: KeyClient
    versions: set[str]
    account: str


async def program(folder: Path, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    """Run the program of the page, as saved in `folder`."""
    path = folder / "open_escrow.py"
    [text] = code_blocks((DOCS / "escrow.md").read_text("utf-8"), "python")
    path.write_text(text)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(path), *arguments, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe
    )
    output, errors = await process.communicate(stdin)
    return process.returncode or 0, output, errors


@asynccontextmanager
async def linked(stack: Stack) -> AsyncIterator[Linked]:
    async with aiohttp.ClientSession() as session:
        control = ControlClient(stack.control_url, session)
        vault = await control.post("vaults", {"name": VAULT, "sku": "premium"})
        app = await control.post("principals", {"display_name": VAULT, "kind": "application"})
        await control.post(f"vaults/{VAULT}/permissions", {"object_id": app["object_id"], "grant": ["all"]})
        await control.post(f"vaults/{VAULT}/keys", {"keys": [{"name": KEY, "kty": "RSA-HSM", "versions": 3}]})
        account = await synced(stack, session, vault["resource_id"], app)
        credential = ClientSecretCredential(
            seeds.CONTOSO_TENANT_ID,
            app["client_id"],
            app["secret"],
            authority=stack.entra_url,
            connection_verify=str(stack.ca_file),
            disable_instance_discovery=True,
        )
        async with (
            credential,
            KeyClient(
                vault["uri"], credential, connection_verify=str(stack.ca_file), verify_challenge_resource=False
            ) as client,
        ):
            yield Linked(client, await versions_of(client), account)


async def synced(stack: Stack, session: aiohttp.ClientSession, vault: str, app: dict[str, Any]) -> str:
    """Link and sync the vault in an account of its own; return the account's id."""
    headers = {"Authorization": f"Bearer {await stack.user_token('alice')}"}

    async def call(method: str, path: str, body: object = None) -> Any:
        async with session.request(method, f"{stack.host_url}/api/v1/{path}", json=body, headers=headers) as response:
            assert response.status < 300, await response.text()
            return await response.json()

    account = (await call("POST", "accounts", {"title": VAULT}))["id"]
    connection = {
        "cloud": json.loads(stack.app_settings["KEYSTEWARD_CLOUD"]),
        "tenant_id": seeds.CONTOSO_TENANT_ID,
        "client_id": app["client_id"],
        "subscription_id": seeds.SUBSCRIPTION_ID,
        "credential": {"kind": "client_secret", "secret": app["secret"]},
    }
    new = {"kind": "azure", "title": VAULT, "vault": vault, "connection": connection}
    group = (await call("POST", f"accounts/{account}/groups", new))["id"]
    job = await call("POST", f"accounts/{account}/groups/{group}/sync")
    async with asyncio.timeout(60):
        while job["status"] not in {"succeeded", "failed"}:
            await asyncio.sleep(0.2)
            job = await call("GET", f"accounts/{account}/jobs/{job['id']}")
    assert job["progress"]["counts"]["escrowed"] == 1
    return str(account)


async def versions_of(client: KeyClient) -> set[str]:
    return {str(key.version) async for key in client.list_properties_of_key_versions(KEY)}


async def download(stack: Stack, account: str, folder: Path) -> None:
    """What `az storage blob download-batch` does, for one account's blobs."""
    url = stack.app_settings["AzureWebJobsStorage__blobServiceUri"]
    credential = IdentityCredential(stack.endpoints)
    async with BlobServiceClient(url, credential, connection_verify=str(stack.ca_file)) as service:
        for name in ("escrow", "sealing"):
            container = service.get_container_client(name)
            async for blob in container.list_blob_names(name_starts_with=account):
                path = folder / name / blob
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(await (await container.download_blob(blob)).readall())


async def unwrap(stack: Stack, record: dict[str, str]) -> bytes:
    """What `az rest` does with the sealing key."""
    token = await IdentityCredential(stack.endpoints).get_token("https://vault.azure.net/.default")
    trust = ssl.create_default_context(cafile=stack.ca_file)
    body = {"alg": "RSA-OAEP-256", "value": record["wrapped"]}
    url = f"{record['sealing_key']}/unwrapkey?api-version=7.4"
    headers = {"Authorization": f"Bearer {token.token}"}
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers, ssl=trust) as answer:
        return str((await answer.json())["value"]).encode()


async def restore(client: KeyClient, backup: bytes) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await client.restore_key_backup(backup)
            except ResourceExistsError:
                # A purge shows after a while only.
                await asyncio.sleep(0.5)
            else:
                return


async def test_a_purged_key_comes_back_from_the_containers_and_the_sealing_key_alone(
    stack: Stack, tmp_path: Path
) -> None:
    async with linked(stack) as vault:
        await vault.client.delete_key(KEY)
        await vault.client.purge_deleted_key(KEY)
        await download(stack, vault.account, tmp_path)

        status, output, errors = await program(tmp_path, "find", "escrow", "sealing", KEY)
        assert status == 0, errors
        found = json.loads(output)
        assert set(found["versions"]) == vault.versions

        data_key = await unwrap(stack, found["unwrap"])
        status, backup, errors = await program(tmp_path, "open", "escrow", found["generation"], stdin=data_key)
        assert status == 0, errors

        await restore(vault.client, backup)
        assert await versions_of(vault.client) == vault.versions

        # A manifest that was changed no longer fits its seal.
        [archive] = (path for path in (tmp_path / "escrow").rglob("esc_*"))
        archive.write_bytes(archive.read_bytes().replace(b'"geography":"Europe"', b'"geography":"Narnia"'))
        status, backup, errors = await program(tmp_path, "open", "escrow", found["generation"], stdin=data_key)
        assert (status, backup) == (1, b"")
        assert b"does not belong to this manifest" in errors
