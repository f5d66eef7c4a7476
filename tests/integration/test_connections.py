"""Connections over HTTP: every cause of not being connected has its code, and a test of one leaves no trace."""

import uuid
from typing import Any

import pytest

from local.emulator.seeds import CONTOSO_TENANT_ID, IDENTITY_CLIENT_ID
from tests.builders.azure import an_identity
from tests.fakes.tls import demanding_server
from tests.integration.azure import NEEDED
from tests.integration.client import Json
from tests.integration.estate import Estate

STRANGER = "deadbeef-0000-4000-8000-000000000000"
WRONG_SECRET = "wrong-" + uuid.uuid4().hex


async def report_of(estate: Estate, vault: str | None = None, **changes: Any) -> Json:
    """Return the report of a test of an unsaved connection; `changes` are those of `Azure.connection`."""
    body = {"connection": estate.azure.connection(**changes)} | ({"vault": vault} if vault else {})
    report: Json = await estate.api.post("connections/test", body)
    return report


def assert_not_connected(report: Json, cause: str, stage: str) -> None:
    assert (report["result"], report["cause"], report["stage"]) == ("not_connected", cause, stage), report
    assert report["detail"]


async def test_the_vaults_of_a_subscription_are_shown(estate: Estate) -> None:
    made = [await estate.azure.vault(sku) for sku in ("standard", "premium", "managed_hsm")]
    report = await report_of(estate)
    assert (report["result"], report["cause"], report["permissions"]) == ("connected", None, {})
    assert {vault["resource_id"] for vault in report["vaults"]} == {vault.resource_id for vault in made}
    assert {vault["type"] for vault in report["vaults"]} == {"standard", "premium", "managed_hsm"}


async def test_permissions_are_probed_without_a_trace(estate: Estate) -> None:
    vault = await estate.azure.vault(grant=("get", "list", "delete"), keys=[{"name": "only"}])
    report = await report_of(estate, vault.resource_id)
    held = {name for name, state in report["permissions"].items() if state == "held"}
    missing = {name for name, state in report["permissions"].items() if state == "missing"}
    assert held == {"get", "list", "delete"}
    assert missing == {"update", "create", "import", "recover", "backup", "restore", "purge"}
    async with estate.azure.owner(vault) as owner:
        assert [key.name async for key in owner.list_properties_of_keys()] == ["only"]
        assert [key.name async for key in owner.list_deleted_keys()] == []


@pytest.mark.parametrize("client_id", [None, IDENTITY_CLIENT_ID])
async def test_the_apps_own_identity_is_not_lent(estate: Estate, client_id: str | None) -> None:
    credential = {"kind": "managed_identity"} | ({"client_id": client_id} if client_id else {})
    connection = estate.azure.connection(tenant_id=None, client_id=None, credential=credential)
    body = {"connection": connection}
    await estate.api.refused("POST", "connections/test", body, status=422, code="identity_not_offered")
    group = {"kind": "azure", "title": "A", **body}
    await estate.api.refused("POST", "groups", group, status=422, code="identity_not_offered")


async def test_a_lent_identity_signs_in_at_the_deployments_cloud_only(estate: Estate) -> None:
    credential = {"kind": "managed_identity", "client_id": STRANGER}
    elsewhere = estate.azure.cloud(resource_manager="https://localhost:1")
    body = {
        "connection": estate.azure.connection(tenant_id=None, client_id=None, credential=credential, cloud=elsewhere)
    }
    await estate.api.refused("POST", "connections/test", body, status=422, code="identity_not_offered")


async def test_a_federation_that_is_not_trusted(estate: Estate) -> None:
    application = await estate.azure.new_application(with_secret=False)
    credential = {"kind": "workload_identity", "tenant_id": CONTOSO_TENANT_ID, "client_id": application["client_id"]}
    report = await report_of(estate, tenant_id=None, client_id=None, credential=credential)
    assert_not_connected(report, "credential_refused", "sign_in")


async def test_a_managed_identity_that_is_not_the_apps(estate: Estate) -> None:
    credential = {"kind": "managed_identity", "client_id": STRANGER}
    report = await report_of(estate, tenant_id=None, client_id=None, credential=credential)
    assert_not_connected(report, "identity_unavailable", "sign_in")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"tenant_id": STRANGER}, "tenant_unknown"),
        ({"client_id": STRANGER}, "application_unknown"),
        ({"credential": {"kind": "client_secret", "secret": WRONG_SECRET}}, "secret_wrong"),
    ],
)
async def test_a_sign_in_that_is_refused(estate: Estate, changes: Json, cause: str) -> None:
    estate.site.ledger.add("wrong client secret", WRONG_SECRET)
    report = await report_of(estate, **changes)
    assert_not_connected(report, cause, "sign_in")
    assert WRONG_SECRET not in str(report)


async def test_an_expired_secret(estate: Estate) -> None:
    expired = await estate.azure.new_application(secret_expires_on=1.0)
    credential = {"kind": "client_secret", "secret": expired["secret"]}
    report = await report_of(estate, client_id=expired["client_id"], credential=credential)
    assert_not_connected(report, "secret_expired", "sign_in")


async def test_a_subscription_without_vaults(estate: Estate) -> None:
    assert_not_connected(await report_of(estate), "no_vault", "management")


@pytest.mark.parametrize("known", [True, False])
async def test_a_subscription_that_is_not_visible(estate: Estate, known: bool) -> None:
    if known:
        await estate.azure.control.patch(f"subscriptions/{estate.azure.subscription}", {"readers": ["somebody else"]})
    report = await report_of(estate, **({} if known else {"subscription_id": STRANGER}))
    assert_not_connected(report, "subscription_not_visible", "management")


async def test_a_vault_that_is_not_there(estate: Estate) -> None:
    vault = await estate.azure.vault()
    report = await report_of(estate, vault.resource_id + "x")
    assert_not_connected(report, "vault_not_found", "management")


async def test_a_vault_that_lets_nobody_in(estate: Estate) -> None:
    vault = await estate.azure.vault(grant=())
    report = await report_of(estate, vault.resource_id)
    assert_not_connected(report, "access_denied", "vault")
    assert set(report["permissions"].values()) == {"missing"}


async def test_a_vaults_firewall(estate: Estate) -> None:
    vault = await estate.azure.vault(firewall=True)
    assert_not_connected(await report_of(estate, vault.resource_id), "firewall", "vault")


@pytest.mark.parametrize(
    ("member", "host", "cause", "stage"),
    [
        ("authority", "https://nowhere.invalid", "name_not_resolved", "sign_in"),
        ("resource_manager", "https://nowhere.invalid", "name_not_resolved", "management"),
        ("authority", "https://localhost:1", "unreachable", "sign_in"),
        ("resource_manager", "https://localhost:1", "unreachable", "management"),
    ],
)
async def test_a_host_that_cannot_be_reached(estate: Estate, member: str, host: str, cause: str, stage: str) -> None:
    report = await report_of(estate, cloud=estate.azure.cloud(**{member: host}))
    assert_not_connected(report, cause, stage)


async def listener(estate: Estate, kind: str, **members: str) -> Json:
    made: Json = await estate.azure.control.post("listeners", {"kind": kind, **members})
    return made


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("untrusted_ca", "tls_not_trusted"),
        ("wrong_host", "tls_host_mismatch"),
        ("expired", "tls_certificate_expired"),
    ],
)
@pytest.mark.parametrize(
    ("target", "member", "stage"), [("entra", "authority", "sign_in"), ("arm", "resource_manager", "management")]
)
async def test_tls_that_is_not_right(
    estate: Estate, kind: str, cause: str, target: str, member: str, stage: str
) -> None:
    url = (await listener(estate, kind, target=target))["url"]
    assert_not_connected(await report_of(estate, cloud=estate.azure.cloud(**{member: url})), cause, stage)


@pytest.mark.parametrize(("member", "stage"), [("authority", "sign_in"), ("resource_manager", "management")])
async def test_a_server_that_demands_a_client_certificate(estate: Estate, member: str, stage: str) -> None:
    with demanding_server() as (url, ca):
        trusted = estate.azure.ca + ca
        report = await report_of(estate, cloud=estate.azure.cloud(**{member: url}), tls={"custom_ca": trusted})
    assert_not_connected(report, "tls_client_certificate_refused", stage)


async def test_a_custom_ca_replaces_the_systems(estate: Estate) -> None:
    await estate.azure.vault()
    stacks_own = estate.azure.ca
    assert (await report_of(estate, tls={"custom_ca": stacks_own}))["result"] == "connected"
    another = an_identity()[0].partition("-----BEGIN PRIVATE KEY")[0]
    assert_not_connected(await report_of(estate, tls={"custom_ca": another}), "tls_not_trusted", "sign_in")


async def test_host_names_are_unchecked_only_beside_a_custom_ca(estate: Estate) -> None:
    await estate.azure.vault()
    cloud = estate.azure.cloud(resource_manager=(await listener(estate, "wrong_host", target="arm"))["url"])
    body = {"connection": estate.azure.connection(cloud=cloud, tls={"validate_host": False})}
    problem = await estate.api.refused("POST", "connections/test", body, status=400, code="connection_invalid")
    assert problem["field"] == "connection.tls.validate_host"
    tls = {"validate_host": False, "custom_ca": estate.azure.ca}
    report = await report_of(estate, cloud=cloud, tls=tls)
    assert (report["result"], report["warnings"]) == ("connected", ["Host names of certificates are not validated."])


async def test_a_proxy_that_refuses(estate: Estate) -> None:
    made = await listener(estate, "proxy", username="keysteward", password="right")
    proxy = {"url": made["url"], "username": "keysteward", "password": "wrong"}
    assert_not_connected(await report_of(estate, proxy=proxy), "proxy_refused", "sign_in")
    assert_not_connected(await report_of(estate, proxy={"url": "http://localhost:1"}), "proxy_refused", "sign_in")


@pytest.mark.parametrize(
    ("action", "cause"),
    [
        ({"kind": "respond", "status": 200, "body": "{not json"}, "service_failed"),
        ({"kind": "respond", "status": 403, "code": "AuthorizationFailed"}, "subscription_not_visible"),
    ],
)
async def test_a_management_service_that_answers_nonsense(estate: Estate, action: Json, cause: str) -> None:
    path = estate.azure.subscription
    made = await estate.azure.control.post("faults", {"service": "arm", "path": path, "action": action})
    report = await report_of(estate)
    await estate.azure.control.delete(f"faults/{made['id']}")
    assert_not_connected(report, cause, "management")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"subscription_id": "not-a-guid"}, "connection.subscription_id"),
        ({"tenant_id": None}, "connection.tenant_id"),
        ({"proxy": {"url": "ftp://proxy:1"}}, "connection.proxy.url"),
        ({"tls": {"custom_ca": "no PEM"}}, "connection.tls.custom_ca"),
        ({"credential": {"kind": "client_certificate", "certificate_pem": "no PEM"}}, "connection.credential"),
    ],
)
async def test_a_malformed_connection_names_the_field(estate: Estate, changes: Json, field: str) -> None:
    reply = await estate.api.send("POST", "connections/test", {"connection": estate.azure.connection(**changes)})
    assert (reply.status, reply.json["code"]) in {(400, "connection_invalid"), (400, "invalid_field")}, reply.content
    assert str(reply.json["field"]).startswith(field)


async def test_needed_permissions_suffice(estate: Estate) -> None:
    vault = await estate.azure.vault(grant=NEEDED, purge_protection=True)
    report = await report_of(estate, vault.resource_id)
    assert (report["result"], report["warnings"]) == ("connected", [])
