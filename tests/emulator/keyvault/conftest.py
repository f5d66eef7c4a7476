"""Vaults, HSMs and callers for the tests of the key data plane; the emulator runs as a process of its own."""

import itertools
from collections.abc import AsyncIterator

import aiohttp
import pytest
from azure.identity import ClientSecretCredential as SyncClientSecretCredential
from azure.identity.aio import ClientSecretCredential
from azure.keyvault.keys import KeyClient as SyncKeyClient
from azure.keyvault.keys.aio import KeyClient

from local.emulator.client import ControlClient, Endpoints

from .clients import (
    HSM_RESOURCE,
    VAULT_RESOURCE,
    WINDOW_SECONDS,
    ClientOf,
    MakeRaw,
    MakeVault,
    RawClient,
    SyncClientOf,
    TestVault,
)

HSM_ROLES = ("Managed HSM Crypto User", "Managed HSM Crypto Officer")


@pytest.fixture(scope="session", autouse=True)
async def _fast_world(control: ControlClient) -> AsyncIterator[None]:
    await control.put("timings", {"delete": WINDOW_SECONDS, "recover": WINDOW_SECONDS, "purge": WINDOW_SECONDS})
    await control.put("throttling", {"enabled": False})
    yield
    await control.put("timings", {})
    await control.put("throttling", {})


@pytest.fixture(scope="session")
async def caller(control: ControlClient) -> dict[str, str]:
    """Return an application that may do everything in the vaults of these tests."""
    return dict(await control.post("principals", {"display_name": "tester"}))


@pytest.fixture(scope="session")
def make_vault(control: ControlClient, caller: dict[str, str]) -> MakeVault:
    """Return a function that makes a vault in which `caller` may do everything."""
    numbers = itertools.count()

    async def make(sku: str = "premium", **options: object) -> TestVault:
        name = f"kv{next(numbers)}-{sku[:7].replace('_', '')}"
        body: dict[str, object] = {"name": name, "sku": sku} | options
        if "access_policies" not in options and "role_assignments" not in options:
            if sku == "managed_hsm":
                roles = [{"object_id": caller["object_id"], "role": role, "scope": "/"} for role in HSM_ROLES]
                body["role_assignments"] = roles
            else:
                body["access_policies"] = [{"object_id": caller["object_id"], "keys": ["all"]}]
        made = await control.post("vaults", body)
        return TestVault(name, made["uri"].rstrip("/"), made["resource_id"], sku == "managed_hsm")

    return make


@pytest.fixture(scope="session")
async def vault(make_vault: MakeVault) -> TestVault:
    """Return a premium vault that many tests share."""
    return await make_vault("premium", retention_days=7)


@pytest.fixture(scope="session")
async def standard(make_vault: MakeVault) -> TestVault:
    """Return a standard vault that many tests share."""
    return await make_vault("standard")


@pytest.fixture(scope="session")
async def hsm(make_vault: MakeVault) -> TestVault:
    """Return a managed HSM that many tests share."""
    return await make_vault("managed_hsm", retention_days=7)


@pytest.fixture(params=["vault", "hsm"])
def either(request: pytest.FixtureRequest, vault: TestVault, hsm: TestVault) -> TestVault:
    """Return a premium vault, then a managed HSM."""
    return {"vault": vault, "hsm": hsm}[request.param]


@pytest.fixture(scope="session")
async def credential(emulator: Endpoints, caller: dict[str, str]) -> AsyncIterator[ClientSecretCredential]:
    """Return the credential of `caller`."""
    async with ClientSecretCredential(
        caller["tenant_id"],
        caller["client_id"],
        caller["secret"],
        authority=emulator.entra_url,
        connection_verify=emulator.ca_file,
    ) as made:
        yield made


@pytest.fixture(scope="session")
async def client_of(emulator: Endpoints, credential: ClientSecretCredential) -> AsyncIterator[ClientOf]:
    """Return a function that gives the SDK's asynchronous client of a vault."""
    clients: dict[str, KeyClient] = {}

    def get(vault: TestVault) -> KeyClient:
        if vault.url not in clients:
            clients[vault.url] = KeyClient(
                vault.url, credential, verify_challenge_resource=False, connection_verify=emulator.ca_file
            )
        return clients[vault.url]

    yield get
    for client in clients.values():
        await client.close()


@pytest.fixture
def sync_client_of(emulator: Endpoints, caller: dict[str, str]) -> SyncClientOf:
    """Return a function that gives the SDK's synchronous client of a vault."""
    credential = SyncClientSecretCredential(
        caller["tenant_id"],
        caller["client_id"],
        caller["secret"],
        authority=emulator.entra_url,
        connection_verify=emulator.ca_file,
        disable_instance_discovery=True,
    )

    def get(vault: TestVault) -> SyncKeyClient:
        return SyncKeyClient(vault.url, credential, verify_challenge_resource=False, connection_verify=emulator.ca_file)

    return get


@pytest.fixture(scope="session")
def raw_of(https: aiohttp.ClientSession, emulator: Endpoints, caller: dict[str, str]) -> MakeRaw:
    """Return a function that gives plain HTTP to a vault, as `caller` or as another application."""
    tokens: dict[tuple[str, str], str] = {}

    async def get(vault: TestVault, application: dict[str, str] | None = None) -> RawClient:
        who = application or caller
        resource = HSM_RESOURCE if vault.is_hsm else VAULT_RESOURCE
        if (who["client_id"], resource) not in tokens:
            tokens[who["client_id"], resource] = await _token(https, emulator, who, resource)
        return RawClient(https, vault, tokens[who["client_id"], resource])

    return get


async def _token(https: aiohttp.ClientSession, emulator: Endpoints, who: dict[str, str], resource: str) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": who["client_id"],
        "client_secret": who["secret"],
        "scope": f"{resource}/.default",
    }
    async with https.post(f"{emulator.entra_url}/{who['tenant_id']}/oauth2/v2.0/token", data=form) as response:
        return str((await response.json())["access_token"])
