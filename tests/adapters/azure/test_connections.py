"""Connection tests against the emulator: the four credentials, and each cause of not being connected."""

from dataclasses import replace
from pathlib import Path

import pytest

from core.adapters.azure import retries
from core.adapters.azure.credentials import AppIdentity
from core.adapters.azure.vaults import AzureVaults
from core.adapters.clock import SystemClock
from core.domain.connections import (
    ConnectionCause,
    ConnectionReport,
    ConnectionStage,
    Credential,
    CredentialKind,
    OpenConnection,
    VaultFacts,
    VaultType,
)
from core.domain.secrets import SecretText
from core.errors import NotFoundError, VaultDeniedError
from local.emulator.access_tokens import TOKEN_EXCHANGE
from local.emulator.seeds import IDENTITY_CLIENT_ID, IDENTITY_OBJECT_ID
from tests.builders.azure import Application, AzureWorld, an_identity, der_base64

STRANGER = "deadbeef-0000-4000-8000-000000000000"


@pytest.fixture
def managed_identity(azure: AzureWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", azure.endpoints.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", azure.endpoints.identity_header)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(retries._DEFAULTS, "retry_backoff_factor", 0.01)


def with_credential(
    connection: OpenConnection, kind: CredentialKind, tenant: str | None, client: str | None, secret: str | None = None
) -> OpenConnection:
    changed = replace(connection.connection, credential=Credential(kind, tenant, client))
    return OpenConnection(changed, SecretText(secret) if secret else None)


def found(report: ConnectionReport) -> tuple[ConnectionCause | None, ConnectionStage | None]:
    return report.cause, report.stage


async def test_a_good_connection_shows_the_vaults_of_every_tier(
    azure: AzureWorld, application: Application, vaults: AzureVaults
) -> None:
    subscription = await azure.subscription()
    for sku in ("standard", "premium", "managed_hsm"):
        await azure.vault(sku=sku, subscription=subscription, purge_protection=True, retention_days=7)
    report = await vaults.test(azure.connection(application, subscription_id=subscription), None)
    assert report.connected
    assert {vault.type for vault in report.vaults} == set(VaultType)
    assert {(vault.purge_protection, vault.soft_delete_retention_days) for vault in report.vaults} == {(True, 7)}
    assert not any(vault.uri.endswith("/") for vault in report.vaults)
    assert (report.permissions, report.warnings) == ((), ())


async def test_more_vaults_than_a_page_are_all_found(
    azure: AzureWorld, application: Application, vaults: AzureVaults
) -> None:
    subscription = await azure.subscription()
    for _ in range(26):
        await azure.vault(subscription=subscription)
    report = await vaults.test(azure.connection(application, subscription_id=subscription), None)
    assert len(report.vaults) == 26


async def test_a_vault_that_cannot_be_read_does_not_hide_the_others(
    azure: AzureWorld, application: Application, vaults: AzureVaults
) -> None:
    body = """{"value": [
        {"id": "/a", "name": "broken", "location": "x", "properties": {"tenantId": "t", "vaultUri": "http://plain"}},
        {"id": "/b", "name": "whole", "location": "x", "properties": {
            "tenantId": "t", "sku": {"family": "A", "name": "premium"}, "vaultUri": "https://whole.example/"}}
    ]}"""
    await azure.fault(action={"kind": "respond", "status": 200, "body": body}, service="arm", path=r"/vaults\?")
    report = await vaults.test(azure.connection(application), None)
    assert [(vault.name, vault.rbac) for vault in report.vaults if vault.type is VaultType.PREMIUM] == [
        ("whole", False)
    ]
    assert report.warnings == ("1 of the subscription's vaults could not be read and are left out.",)


async def test_a_client_certificate_signs_in(azure: AzureWorld, vaults: AzureVaults) -> None:
    pem, certificate = an_identity()
    application = await azure.application(certificates=[der_base64(certificate)])
    kind = CredentialKind.CLIENT_CERTIFICATE
    connection = with_credential(azure.connection(application), kind, application.tenant_id, application.client_id, pem)
    assert (await vaults.test(connection, None)).connected


@pytest.mark.usefixtures("managed_identity")
@pytest.mark.parametrize("client_id", [None, IDENTITY_CLIENT_ID])
async def test_a_managed_identity_signs_in(
    azure: AzureWorld, application: Application, vaults: AzureVaults, client_id: str | None
) -> None:
    connection = with_credential(azure.connection(application), CredentialKind.MANAGED_IDENTITY, None, client_id)
    assert (await vaults.test(connection, None)).connected


@pytest.mark.usefixtures("managed_identity")
async def test_workload_identity_signs_in_with_the_apps_own_identity(azure: AzureWorld) -> None:
    trust = {
        "issuer": f"{azure.endpoints.entra_url}/11111111-1111-1111-1111-111111111111/v2.0",
        "subject": IDENTITY_OBJECT_ID,
        "audience": TOKEN_EXCHANGE,
    }
    application = await azure.application(with_secret=False, federated=[trust])
    vaults = AzureVaults(SystemClock(), AppIdentity(client_id=IDENTITY_CLIENT_ID))
    kind = CredentialKind.WORKLOAD_IDENTITY
    connection = with_credential(azure.connection(application), kind, application.tenant_id, application.client_id)
    report = await vaults.test(connection, None)
    assert report.connected, report.detail


async def test_workload_identity_signs_in_with_the_platforms_token_file(azure: AzureWorld, tmp_path: Path) -> None:
    minted = await azure.control.post("federated-token", {"subject": "workload"})
    token_file = tmp_path / "token"
    token_file.write_text(minted["token"])
    trust = {"issuer": f"{azure.endpoints.entra_url}/workload", "subject": "workload", "audience": TOKEN_EXCHANGE}
    application = await azure.application(with_secret=False, federated=[trust])
    vaults = AzureVaults(SystemClock(), AppIdentity(federated_token_file=token_file))
    kind = CredentialKind.WORKLOAD_IDENTITY
    connection = with_credential(azure.connection(application), kind, application.tenant_id, application.client_id)
    report = await vaults.test(connection, None)
    assert report.connected, report.detail


async def test_an_unknown_tenant(azure: AzureWorld, application: Application, vaults: AzureVaults) -> None:
    application.tenant_id = STRANGER
    report = await vaults.test(azure.connection(application), None)
    assert found(report) == (ConnectionCause.TENANT_UNKNOWN, ConnectionStage.SIGN_IN)


async def test_an_unknown_application(azure: AzureWorld, application: Application, vaults: AzureVaults) -> None:
    application.client_id = STRANGER
    report = await vaults.test(azure.connection(application), None)
    assert found(report) == (ConnectionCause.APPLICATION_UNKNOWN, ConnectionStage.SIGN_IN)


async def test_a_wrong_secret(azure: AzureWorld, application: Application, vaults: AzureVaults) -> None:
    application.secret = "not-the-secret"
    report = await vaults.test(azure.connection(application), None)
    assert found(report) == (ConnectionCause.SECRET_WRONG, ConnectionStage.SIGN_IN)
    assert "not-the-secret" not in repr(report)


async def test_an_expired_secret(azure: AzureWorld, vaults: AzureVaults) -> None:
    application = await azure.application(secret_expires_on=1.0)
    report = await vaults.test(azure.connection(application), None)
    assert found(report) == (ConnectionCause.SECRET_EXPIRED, ConnectionStage.SIGN_IN)


async def test_a_certificate_that_is_not_registered(
    azure: AzureWorld, application: Application, vaults: AzureVaults
) -> None:
    kind, tenant, client = CredentialKind.CLIENT_CERTIFICATE, application.tenant_id, application.client_id
    connection = with_credential(azure.connection(application), kind, tenant, client, an_identity()[0])
    assert found(await vaults.test(connection, None)) == (ConnectionCause.CREDENTIAL_REFUSED, ConnectionStage.SIGN_IN)


async def test_a_certificate_that_is_none(azure: AzureWorld, application: Application, vaults: AzureVaults) -> None:
    kind, tenant, client = CredentialKind.CLIENT_CERTIFICATE, application.tenant_id, application.client_id
    connection = with_credential(azure.connection(application), kind, tenant, client, "no PEM")
    report = await vaults.test(connection, None)
    assert found(report) == (ConnectionCause.CREDENTIAL_REFUSED, ConnectionStage.SIGN_IN)


async def test_no_managed_identity_here(
    azure: AzureWorld, application: Application, vaults: AzureVaults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", azure.endpoints.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    connection = with_credential(azure.connection(application), CredentialKind.MANAGED_IDENTITY, None, None)
    report = await vaults.test(connection, None)
    assert found(report) == (ConnectionCause.IDENTITY_UNAVAILABLE, ConnectionStage.SIGN_IN)


@pytest.mark.parametrize("subscription", [STRANGER, "closed"])
async def test_a_subscription_that_is_not_visible(
    azure: AzureWorld, application: Application, vaults: AzureVaults, subscription: str
) -> None:
    if subscription == "closed":
        body = {"display_name": "closed", "readers": ["somebody-else"]}
        subscription = (await azure.control.post("subscriptions", body))["id"]
    report = await vaults.test(azure.connection(application, subscription_id=subscription), None)
    assert found(report) == (ConnectionCause.SUBSCRIPTION_NOT_VISIBLE, ConnectionStage.MANAGEMENT)


async def test_a_subscription_without_vaults(azure: AzureWorld, application: Application, vaults: AzureVaults) -> None:
    report = await vaults.test(azure.connection(application, subscription_id=await azure.subscription()), None)
    assert found(report) == (ConnectionCause.NO_VAULT, ConnectionStage.MANAGEMENT)


async def test_a_vault_that_is_not_in_the_subscription(
    azure: AzureWorld, application: Application, vaults: AzureVaults
) -> None:
    vault, _ = await azure.vault(application), await azure.vault()
    await azure.control.delete(f"vaults/{vault.name}")
    report = await vaults.test(azure.connection(application), vault)
    assert found(report) == (ConnectionCause.VAULT_NOT_FOUND, ConnectionStage.MANAGEMENT)


async def test_a_vault_that_lets_nobody_list(azure: AzureWorld, application: Application, vaults: AzureVaults) -> None:
    vault = await azure.vault()
    report = await vaults.test(azure.connection(application), vault)
    assert found(report) == (ConnectionCause.ACCESS_DENIED, ConnectionStage.VAULT)


async def test_a_firewall(azure: AzureWorld, application: Application, vaults: AzureVaults) -> None:
    vault = await azure.vault(application, firewall=True)
    report = await vaults.test(azure.connection(application), vault)
    assert found(report) == (ConnectionCause.FIREWALL, ConnectionStage.VAULT)


async def test_a_host_name_that_nobody_knows(azure: AzureWorld, application: Application, vaults: AzureVaults) -> None:
    connection = azure.connection(application, cloud=azure.cloud(authority="https://nowhere.invalid"))
    report = await vaults.test(connection, None)
    assert found(report) == (ConnectionCause.NAME_NOT_RESOLVED, ConnectionStage.SIGN_IN)


@pytest.mark.usefixtures("no_waiting")
async def test_a_host_that_does_not_answer(azure: AzureWorld, application: Application, vaults: AzureVaults) -> None:
    connection = azure.connection(application, cloud=azure.cloud(resource_manager="https://localhost:1"))
    report = await vaults.test(connection, None)
    assert found(report) == (ConnectionCause.UNREACHABLE, ConnectionStage.MANAGEMENT)


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(("status", "cause"), [(429, ConnectionCause.THROTTLED), (500, ConnectionCause.SERVICE_FAILED)])
async def test_a_management_service_that_fails(
    azure: AzureWorld, application: Application, vaults: AzureVaults, status: int, cause: ConnectionCause
) -> None:
    await azure.fault(action={"kind": "respond", "status": status, "message": "theirs"}, service="arm")
    report = await vaults.test(azure.connection(application), None)
    assert found(report) == (cause, ConnectionStage.MANAGEMENT)
    assert "theirs" not in repr(report)


@pytest.mark.usefixtures("no_waiting")
async def test_a_sign_in_service_that_fails(azure: AzureWorld, application: Application, vaults: AzureVaults) -> None:
    await azure.fault(action={"kind": "respond", "status": 503}, service="entra")
    cause, stage = found(await vaults.test(azure.connection(application), None))
    assert stage is ConnectionStage.SIGN_IN
    assert cause in {ConnectionCause.SERVICE_FAILED, ConnectionCause.CREDENTIAL_REFUSED}


async def test_warnings_name_what_is_weak(azure: AzureWorld, application: Application, vaults: AzureVaults) -> None:
    vault = await azure.vault(application)
    await azure.control.post(
        f"vaults/{vault.name}/permissions", {"object_id": application.object_id, "revoke": ["backup"]}
    )
    connection = azure.connection(application)
    expiring = replace(connection.connection.credential, expires_on=SystemClock().now().replace(year=2020))
    unchecked = replace(connection.connection.tls, validate_host=False)
    connection = replace(connection, connection=replace(connection.connection, credential=expiring, tls=unchecked))
    warnings = (await vaults.test(connection, vault)).warnings
    for part in ("not validated", "is expired", "no purge protection", "missing: backup"):
        assert any(part in warning for warning in warnings), part


async def test_facts_are_read_again(azure: AzureWorld, application: Application, vaults: AzureVaults) -> None:
    for sku in ("premium", "managed_hsm"):
        vault = await azure.vault(application, sku=sku)
        await azure.control.patch(f"vaults/{vault.name}", {"purge_protection": True})
        facts = await vaults.facts(azure.connection(application), vault)
        assert (facts.purge_protection, facts.uri, facts.type) == (True, vault.uri, vault.type)


async def test_facts_of_a_vault_that_may_not_be_read(
    azure: AzureWorld, application: Application, vaults: AzureVaults, vault_elsewhere: VaultFacts
) -> None:
    with pytest.raises(VaultDeniedError) as caught:
        await vaults.facts(azure.connection(application, subscription_id=STRANGER), vault_elsewhere)
    assert caught.value.facts["cause"] == "subscription_not_visible"


@pytest.fixture
async def vault_elsewhere(azure: AzureWorld) -> VaultFacts:
    return await azure.vault()


async def test_facts_of_a_vault_that_is_gone(
    azure: AzureWorld, application: Application, vaults: AzureVaults, vault_elsewhere: VaultFacts
) -> None:
    await azure.control.delete(f"vaults/{vault_elsewhere.name}")
    with pytest.raises(NotFoundError) as caught:
        await vaults.facts(azure.connection(application), vault_elsewhere)
    assert caught.value.code == "vault_not_found"
