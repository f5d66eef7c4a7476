"""The control API: what it shows, what it changes in the services, and what it refuses."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.identity.aio import ClientSecretCredential
from azure.keyvault.keys.aio import KeyClient

from local.emulator import seeds
from local.emulator.client import ControlClient, ControlRefusedError, Endpoints


@pytest.fixture
async def application(control: ControlClient) -> dict[str, str]:
    made: dict[str, str] = await control.post("principals", {"display_name": "controlled"})
    return made


@pytest.fixture
async def credential(emulator: Endpoints, application: dict[str, str]) -> AsyncIterator[ClientSecretCredential]:
    arguments = (application["tenant_id"], application["client_id"], application["secret"])
    async with ClientSecretCredential(
        *arguments, authority=emulator.entra_url, connection_verify=emulator.ca_file
    ) as credential:
        yield credential


@pytest.fixture
def open_vault(
    emulator: Endpoints, control: ControlClient, application: dict[str, str], credential: ClientSecretCredential
) -> Callable[..., Awaitable[KeyClient]]:
    """Return a function that makes a vault on which the application holds permissions, and a client of it."""

    async def make(name: str, keys: list[str], **body: Any) -> KeyClient:
        policy = {"object_id": application["object_id"], "keys": keys}
        made = await control.post("vaults", {"name": name, "access_policies": [policy]} | body)
        return client(made["uri"])

    def client(uri: str) -> KeyClient:
        return KeyClient(
            uri, credential, verify_challenge_resource=False, connection_verify=emulator.ca_file, retry_total=0
        )

    return make


async def test_the_world_is_seeded_and_shows_no_secret(control: ControlClient, emulator: Endpoints) -> None:
    world = await control.get("world")
    names = {principal["username"] for principal in world["principals"]}
    assert {"alice@contoso.example", "bob@contoso.example", "carol@contoso.example", "dave@contoso.example"} <= names
    assert seeds.CONTOSO_TENANT_ID in {tenant["id"] for tenant in world["tenants"]}
    assert [vault["sku"] for vault in world["vaults"] if vault["name"] == seeds.PLATFORM_VAULT] == ["premium"]
    assert (world["entra_url"], world["arm_url"]) == (emulator.entra_url, emulator.arm_url)
    made = await control.post("principals", {"display_name": "secretive"})
    text = json.dumps(await control.get("world"))
    assert made["secret"] not in text
    assert seeds.USER_PASSWORD not in text


async def test_permissions_come_and_go(
    control: ControlClient, application: dict[str, str], open_vault: Callable[..., Awaitable[KeyClient]]
) -> None:
    async with await open_vault("permitted", ["get"]) as client:
        with pytest.raises(HttpResponseError) as refused:
            await client.create_rsa_key("signing")
        assert refused.value.status_code == 403
        object_id = application["object_id"]
        await control.post("vaults/permitted/permissions", {"object_id": object_id, "grant": ["all"]})
        key = await client.create_ec_key("signing")
        assert (await client.get_key("signing")).id == key.id
        await control.post("vaults/permitted/permissions", {"object_id": object_id, "revoke": ["get"]})
        with pytest.raises(HttpResponseError):
            await client.get_key("signing")


async def test_roles_come_and_go(
    control: ControlClient, application: dict[str, str], open_vault: Callable[..., Awaitable[KeyClient]]
) -> None:
    role = {"object_id": application["object_id"], "grant": ["Key Vault Crypto Officer"]}
    async with await open_vault("by-role", [], rbac=True) as client:
        with pytest.raises(HttpResponseError):
            await client.create_ec_key("signing")
        await control.post("vaults/by-role/permissions", role)
        await client.create_ec_key("signing")
        await control.post("vaults/by-role/permissions", {"object_id": role["object_id"], "revoke": role["grant"]})
        with pytest.raises(HttpResponseError):
            await client.create_ec_key("encryption")


async def test_keys_are_seeded_in_bulk(control: ControlClient, open_vault: Callable[..., Awaitable[KeyClient]]) -> None:
    async with await open_vault("bulk", ["list", "get"]) as client:
        await control.post("vaults/bulk/keys", {"keys": [{"name": "mass", "count": 60, "versions": 2}]})
        names = [key.name async for key in client.list_properties_of_keys()]
        assert len(names) == 60
        assert len([version async for version in client.list_properties_of_key_versions(names[0])]) == 2


async def test_a_deleted_vault_vanishes(
    control: ControlClient, open_vault: Callable[..., Awaitable[KeyClient]]
) -> None:
    async with await open_vault("vanishing", ["get", "create"]) as client:
        await client.create_ec_key("signing")
        await control.delete("vaults/vanishing")
        with pytest.raises(ServiceRequestError):
            await client.get_key("signing")
    assert "vanishing" not in {vault["name"] for vault in (await control.get("world"))["vaults"]}


@pytest.mark.usefixtures("fresh_conditions")
async def test_the_resource_clock_moves_without_invalidating_tokens(
    control: ControlClient, open_vault: Callable[..., Awaitable[KeyClient]]
) -> None:
    async with await open_vault("time", ["get", "create"]) as client:
        before = (await client.create_ec_key("old")).properties.created_on
        clock = await control.put("clock", {"offset_seconds": 10 * 86_400})
        assert clock["now"] - clock["token_now"] == pytest.approx(10 * 86_400, abs=1)
        after = (await client.create_ec_key("new")).properties.created_on
    assert before is not None
    assert after is not None
    assert (after - before).days == 10


async def test_a_deleted_principal_cannot_sign_in(
    control: ControlClient, application: dict[str, str], token_of: Callable[..., Awaitable[str]]
) -> None:
    await token_of(application, "https://vault.azure.net")
    await control.delete(f"principals/{application['object_id']}")
    with pytest.raises(AssertionError, match="AADSTS700016"):
        await token_of(application, "https://vault.azure.net")


async def test_a_changed_password_counts(
    control: ControlClient, emulator: Endpoints, https: aiohttp.ClientSession
) -> None:
    made = await control.post(
        "principals", {"display_name": "Eve", "kind": "user", "username": "eve@contoso.example", "password": "one"}
    )
    await control.patch(f"principals/{made['object_id']}", {"password": "two"})
    statuses = []
    for password in ("one", "two"):
        form = {
            "grant_type": "password",
            "client_id": seeds.API_CLIENT_ID,
            "username": "eve@contoso.example",
            "password": password,
            "scope": f"{seeds.API_AUDIENCE}/.default",
        }
        url = f"{emulator.entra_url}/{seeds.CONTOSO_TENANT_ID}/oauth2/v2.0/token"
        async with https.post(url, data=form) as response:
            statuses.append(response.status)
    assert statuses == [400, 200]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("post", "vaults", {"name": "platform"}, 409),
        ("post", "vaults", {"name": "a"}, 400),
        ("post", "vaults", {"name": "two--dashes"}, 400),
        ("post", "vaults", {"name": "fine", "retention_days": 91}, 400),
        ("post", "vaults", {"name": "fine", "colour": "red"}, 400),
        ("post", "vaults", {"name": "fine", "subscription": "unknown"}, 404),
        ("post", "vaults/platform/permissions", {"object_id": "unknown"}, 404),
        ("post", "vaults/platform/keys", {"keys": [{"name": "not valid!"}]}, 400),
        ("post", "vaults/platform/keys", {"keys": [{"name": "fine", "colour": "red"}]}, 400),
        ("post", "vaults/unknown/keys", {"keys": []}, 404),
        ("post", "principals", {"display_name": "x", "certificates": ["nonsense"]}, 400),
        ("post", "principals", {"display_name": "x", "tenant_id": "unknown"}, 404),
        ("post", "principals", [], 400),
        ("patch", "principals/unknown", {}, 404),
        ("post", "faults", {"action": {"kind": "explode"}}, 400),
        ("post", "faults", {"action": {"kind": "cut"}, "path": "("}, 400),
        ("put", "throttling", {"scal": 2}, 400),
        ("post", "listeners", {"kind": "expired", "target": "unknown"}, 404),
    ],
)
async def test_refusals(control: ControlClient, method: str, path: str, body: object, status: int) -> None:
    with pytest.raises(ControlRefusedError) as refused:
        await getattr(control, method)(path, body)
    assert refused.value.status == status


async def test_unknown_things_cannot_be_deleted(control: ControlClient) -> None:
    for path in ("vaults/unknown", "principals/unknown", "faults/unknown", "listeners/unknown"):
        with pytest.raises(ControlRefusedError, match="NotFound"):
            await control.delete(path)


async def test_reset_brings_the_starting_world_back(start_emulator: Callable[..., Any], tmp_path: Any) -> None:
    running = start_emulator(tmp_path)
    async with aiohttp.ClientSession() as session:
        control = ControlClient(running.endpoints.control_url, session)
        await control.post("vaults", {"name": "temporary"})
        await control.post("principals", {"display_name": "temporary"})
        await control.put("clock", {"offset_seconds": 1000})
        await control.post("reset")
        world = await control.get("world")
        assert [vault["name"] for vault in world["vaults"]] == [seeds.PLATFORM_VAULT]
        assert "temporary" not in {principal["display_name"] for principal in world["principals"]}
        assert (await control.get("clock"))["offset_seconds"] == 0
