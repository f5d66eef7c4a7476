"""Azure Resource Manager: lists with pages, single resources, deleted vaults and refusals."""

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import ClientSecretCredential
from azure.identity.aio import ClientSecretCredential as AsyncClientSecretCredential
from azure.mgmt.keyvault import KeyVaultManagementClient
from azure.mgmt.keyvault.aio import KeyVaultManagementClient as AsyncKeyVaultManagementClient

from local.emulator import seeds
from local.emulator.client import ControlClient, Endpoints

ARM = "https://management.azure.com"
API_VERSION = {"api-version": "2026-02-01"}


@pytest.fixture(scope="session")
async def application(control: ControlClient) -> dict[str, str]:
    made: dict[str, str] = await control.post("principals", {"display_name": "reader"})
    return made


@pytest.fixture(scope="session")
async def subscription(control: ControlClient, application: dict[str, str]) -> str:
    """Return a subscription of 30 vaults, one of them deleted, and one HSM, that one application may read."""
    body = {"display_name": "thirty", "readers": [application["object_id"]]}
    subscription_id: str = (await control.post("subscriptions", body))["id"]
    for number in range(30):
        vault = {
            "name": f"thirty-{number:02}",
            "subscription": subscription_id,
            "resource_group": f"group-{number % 2}",
        }
        await control.post("vaults", vault)
    await control.post("vaults", {"name": "thirty-hsm", "sku": "managed_hsm", "subscription": subscription_id})
    await control.delete("vaults/thirty-29")
    return subscription_id


@pytest.fixture
async def bearer(application: dict[str, str], token_of: Callable[..., Awaitable[str]]) -> dict[str, str]:
    return {"Authorization": f"Bearer {await token_of(application, ARM)}"}


@pytest.fixture
def client_options(emulator: Endpoints, subscription: str) -> dict[str, Any]:
    return {
        "subscription_id": subscription,
        "base_url": emulator.arm_url,
        "credential_scopes": [f"{ARM}/.default"],
        "connection_verify": emulator.ca_file,
    }


def credential_arguments(emulator: Endpoints, application: dict[str, str]) -> dict[str, Any]:
    return {
        "tenant_id": application["tenant_id"],
        "client_id": application["client_id"],
        "client_secret": application["secret"],
        "authority": emulator.entra_url,
        "connection_verify": emulator.ca_file,
        "disable_instance_discovery": True,
    }


async def test_the_async_client_lists_over_pages(
    emulator: Endpoints, application: dict[str, str], client_options: dict[str, Any], control: ControlClient
) -> None:
    await control.delete("counters")
    async with (
        AsyncClientSecretCredential(**credential_arguments(emulator, application)) as credential,
        AsyncKeyVaultManagementClient(credential, **client_options) as client,
    ):
        vaults = [vault async for vault in client.vaults.list_by_subscription()]
        hsms = [hsm async for hsm in client.managed_hsms.list_by_subscription()]
        in_group = [vault.name async for vault in client.vaults.list_by_resource_group("GROUP-1")]
    assert [vault.name for vault in vaults] == [f"thirty-{number:02}" for number in range(29)]
    assert [hsm.name for hsm in hsms] == ["thirty-hsm"]
    assert in_group == [f"thirty-{number:02}" for number in range(1, 29, 2)]
    assert str(vaults[0].properties.vault_uri).startswith("https://localhost:")
    hsm = hsms[0].as_dict()
    assert (hsm["sku"]["name"], hsm["properties"]["enablePurgeProtection"]) == ("Standard_B1", False)
    rows = (await control.get("counters"))["requests"]
    assert [row["count"] for row in rows if row["operation"] == "list_vaults"] == [4]


def test_the_sync_client_gets_one(
    emulator: Endpoints, application: dict[str, str], client_options: dict[str, Any]
) -> None:
    with (
        ClientSecretCredential(**credential_arguments(emulator, application)) as credential,
        KeyVaultManagementClient(credential, **client_options) as client,
    ):
        found = client.vaults.get("group-1", "thirty-01")
        assert found.properties.soft_delete_retention_in_days == 90
        hsm = client.managed_hsms.get("keys", "thirty-hsm")
        assert hsm is not None
        assert hsm.as_dict()["properties"]["hsmUri"].startswith("https://localhost:")
        assert [vault.name for vault in client.vaults.list_deleted()] == ["thirty-29"]
        deleted = client.vaults.get_deleted("thirty-29", "westeurope").as_dict()
        assert deleted["properties"]["vaultId"].endswith("vaults/thirty-29")
        assert len(list(client.vaults.list())) == 29
        with pytest.raises(ResourceNotFoundError, match="under resource group 'group-0' was not found"):
            client.vaults.get("group-0", "thirty-01")
        with pytest.raises(HttpResponseError, match="thirty-29"):
            client.vaults.get("group-1", "thirty-29")


async def test_pages_follow_top(
    emulator: Endpoints, https: aiohttp.ClientSession, bearer: dict[str, str], subscription: str
) -> None:
    url = f"{emulator.arm_url}/subscriptions/{subscription}/providers/microsoft.keyvault/VAULTS"
    sizes, params = [], API_VERSION | {"$top": "29"}
    while url:
        async with https.get(url, params=params, headers=bearer) as response:
            page = await response.json()
        sizes.append(len(page["value"]))
        url, params = page.get("nextLink"), {}
    assert sizes == [25, 4]
    async with https.get(
        f"{emulator.arm_url}/subscriptions/{subscription}/providers/Microsoft.KeyVault/managedHSMs",
        params=API_VERSION | {"$top": "1"},
        headers=bearer,
    ) as response:
        link = (await response.json())["nextLink"]
    async with https.get(link, headers=bearer) as response:
        assert await response.json() == {"value": []}


async def test_vaults_show_their_settings(
    emulator: Endpoints, https: aiohttp.ClientSession, control: ControlClient, token_of: Callable[..., Any]
) -> None:
    reader = await control.post("principals", {"display_name": "another"})
    policy = {"object_id": reader["object_id"], "keys": ["get", "list"]}
    body = {"name": "settings", "sku": "premium", "retention_days": 7, "access_policies": [policy]}
    made = await control.post("vaults", body)
    headers = {"Authorization": f"Bearer {await token_of(reader, ARM)}"}

    async def shown() -> dict[str, Any]:
        async with https.get(emulator.arm_url + made["resource_id"], params=API_VERSION, headers=headers) as response:
            properties: dict[str, Any] = (await response.json())["properties"]
            return properties

    before = await shown()
    assert before["accessPolicies"][0]["permissions"]["keys"] == ["get", "list"]
    assert (before["sku"], before["softDeleteRetentionInDays"]) == ({"family": "A", "name": "premium"}, 7)
    assert before["vaultUri"] == made["uri"]
    assert "enablePurgeProtection" not in before
    await control.patch("vaults/settings", {"purge_protection": True, "rbac": True})
    after = await shown()
    assert (after["enablePurgeProtection"], after["enableRbacAuthorization"]) == (True, True)


async def refusal(
    https: aiohttp.ClientSession, url: str, headers: dict[str, str], params: dict[str, str] | None = None
) -> tuple[int, str]:
    async with https.get(url, params=API_VERSION if params is None else params, headers=headers) as response:
        return response.status, (await response.json())["error"]["code"]


async def test_tokens_that_are_refused(
    emulator: Endpoints,
    https: aiohttp.ClientSession,
    subscription: str,
    application: dict[str, str],
    token_of: Callable[..., Awaitable[str]],
) -> None:
    url = f"{emulator.arm_url}/subscriptions/{subscription}"
    assert await refusal(https, url, {}) == (401, "AuthenticationFailed")
    assert await refusal(https, url, {"Authorization": "Bearer x.y.z"}) == (401, "InvalidAuthenticationToken")
    good = await token_of(application, ARM)
    head, body, signature = good.split(".")
    tampered = f"{head}.{body[:-2]}{'AA' if body[-2:] != 'AA' else 'BB'}.{signature}"
    assert await refusal(https, url, {"Authorization": f"Bearer {tampered}"}) == (401, "InvalidAuthenticationToken")
    other = await token_of(application, "https://vault.azure.net")
    expected = (401, "InvalidAuthenticationTokenAudience")
    assert await refusal(https, url, {"Authorization": f"Bearer {other}"}) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic eDp5",
        "Bearer W10.e30.eA",
        "Bearer e30.e30.",
        "Bearer ....",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
    ],
)
async def test_malformed_authorization(
    emulator: Endpoints, https: aiohttp.ClientSession, subscription: str, value: str
) -> None:
    status, code = await refusal(https, f"{emulator.arm_url}/subscriptions/{subscription}", {"Authorization": value})
    assert (status, code) in {(401, "AuthenticationFailed"), (401, "InvalidAuthenticationToken")}


@pytest.mark.usefixtures("fresh_conditions")
async def test_an_expired_token_is_refused(
    emulator: Endpoints, https: aiohttp.ClientSession, subscription: str, bearer: dict[str, str], control: ControlClient
) -> None:
    url = f"{emulator.arm_url}/subscriptions/{subscription}"
    await control.put("clock", {"offset_seconds": 86_400})
    async with https.get(url, params=API_VERSION, headers=bearer) as response:
        assert response.status == 200
    await control.put("clock", {"token_offset_seconds": 3_600})
    assert await refusal(https, url, bearer) == (401, "ExpiredAuthenticationToken")


async def test_subscriptions_that_are_refused(
    emulator: Endpoints,
    https: aiohttp.ClientSession,
    subscription: str,
    bearer: dict[str, str],
    control: ControlClient,
    token_of: Callable[..., Awaitable[str]],
) -> None:
    base = f"{emulator.arm_url}/subscriptions"
    unknown = "99999999-9999-9999-9999-999999999999"
    assert await refusal(https, f"{base}/{unknown}", bearer) == (404, "SubscriptionNotFound")
    assert await refusal(https, f"{base}/nonsense", bearer) == (400, "InvalidSubscriptionId")
    assert await refusal(https, f"{base}/{subscription}", bearer, {}) == (400, "MissingApiVersionParameter")
    vaults = f"{base}/{subscription}/providers/Microsoft.KeyVault/vaults"
    assert await refusal(https, vaults, bearer, API_VERSION | {"$top": "0"}) == (400, "InvalidQueryParameterValue")
    nobody = await control.post("principals", {"display_name": "nobody"})
    theirs = {"Authorization": f"Bearer {await token_of(nobody, ARM)}"}
    assert await refusal(https, vaults, theirs) == (403, "AuthorizationFailed")
    tenant = await control.post("tenants", {"display_name": "elsewhere"})
    foreigner = await control.post("principals", {"display_name": "foreigner", "tenant_id": tenant["id"]})
    foreign = {"Authorization": f"Bearer {await token_of(foreigner, ARM)}"}
    assert await refusal(https, vaults, foreign) == (401, "InvalidAuthenticationTokenTenant")


async def test_only_readable_subscriptions_are_listed(
    emulator: Endpoints,
    https: aiohttp.ClientSession,
    subscription: str,
    bearer: dict[str, str],
    control: ControlClient,
    token_of: Callable[..., Awaitable[str]],
) -> None:
    async def listed(headers: dict[str, str]) -> set[str]:
        async with https.get(f"{emulator.arm_url}/subscriptions", params=API_VERSION, headers=headers) as response:
            return {known["subscriptionId"] for known in (await response.json())["value"]}

    assert {subscription, seeds.SUBSCRIPTION_ID} <= await listed(bearer)
    nobody = await control.post("principals", {"display_name": "nobody"})
    theirs = {"Authorization": f"Bearer {await token_of(nobody, ARM)}"}
    assert subscription not in await listed(theirs)
    await control.patch(f"subscriptions/{subscription}", {"readers": ["*"]})
    assert subscription in await listed(theirs)
