"""Every way to sign in that the product uses, with the unmodified SDK, and what the tokens say."""

import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.identity import (
    CertificateCredential,
    ClientAssertionCredential,
    ClientSecretCredential,
    DefaultAzureCredential,
    WorkloadIdentityCredential,
)
from azure.identity.aio import CertificateCredential as AsyncCertificateCredential
from azure.identity.aio import ClientAssertionCredential as AsyncClientAssertionCredential
from azure.identity.aio import ClientSecretCredential as AsyncClientSecretCredential
from azure.identity.aio import DefaultAzureCredential as AsyncDefaultAzureCredential
from azure.identity.aio import ManagedIdentityCredential as AsyncManagedIdentityCredential
from azure.identity.aio import WorkloadIdentityCredential as AsyncWorkloadIdentityCredential
from joserfc import jwt
from joserfc.jwk import KeySet

from local.emulator import seeds
from local.emulator.client import ControlClient, Endpoints

VAULT_SCOPE = "https://vault.azure.net/.default"
SUBJECT = "system:serviceaccount:keys:keysteward"


def claims_of(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


@pytest.fixture
async def application(control: ControlClient) -> dict[str, str]:
    made: dict[str, str] = await control.post("principals", {"display_name": "an application"})
    return made


@pytest.fixture
def options(emulator: Endpoints) -> dict[str, Any]:
    """Return what every credential needs to find the emulator."""
    return {"authority": emulator.entra_url, "connection_verify": emulator.ca_file, "disable_instance_discovery": True}


async def test_client_secret(application: dict[str, str], options: dict[str, Any]) -> None:
    arguments = (application["tenant_id"], application["client_id"], application["secret"])
    with ClientSecretCredential(*arguments, **options) as credential:
        assert claims_of(credential.get_token(VAULT_SCOPE).token)["oid"] == application["object_id"]
    async with AsyncClientSecretCredential(*arguments, **options) as credential:
        claims = claims_of((await credential.get_token(VAULT_SCOPE)).token)
    assert claims["aud"] == "https://vault.azure.net"
    assert claims["iss"] == f"https://sts.windows.net/{application['tenant_id']}/"
    assert (claims["appid"], claims["tid"], claims["ver"]) == (
        application["client_id"],
        application["tenant_id"],
        "1.0",
    )


@pytest.mark.parametrize("send_chain", [False, True])
async def test_certificate(
    control: ControlClient, options: dict[str, Any], certificate_and_key: Callable[..., Any], *, send_chain: bool
) -> None:
    pem, with_key = certificate_and_key(days=1)
    made = await control.post("principals", {"display_name": "certified", "certificates": [pem], "with_secret": False})
    given: dict[str, Any] = {"certificate_data": with_key, "send_certificate_chain": send_chain} | options
    with CertificateCredential(made["tenant_id"], made["client_id"], **given) as credential:
        assert claims_of(credential.get_token(VAULT_SCOPE).token)["oid"] == made["object_id"]
    async with AsyncCertificateCredential(made["tenant_id"], made["client_id"], **given) as credential:
        assert claims_of((await credential.get_token(VAULT_SCOPE)).token)["oid"] == made["object_id"]


@pytest.fixture
async def federated(control: ControlClient, emulator: Endpoints) -> dict[str, str]:
    """Return an application that trusts the emulator's workload issuer."""
    trust = {"issuer": f"{emulator.entra_url}/workload", "subject": SUBJECT, "audience": "api://AzureADTokenExchange"}
    made: dict[str, str] = await control.post(
        "principals", {"display_name": "federated", "federated": [trust], "with_secret": False}
    )
    return made


async def test_workload_identity(
    control: ControlClient, federated: dict[str, str], options: dict[str, Any], tmp_path: Path
) -> None:
    token: str = (await control.post("federated-token", {"subject": SUBJECT}))["token"]
    file = tmp_path / "token"
    file.write_text(token)
    arguments: dict[str, Any] = {"tenant_id": federated["tenant_id"], "client_id": federated["client_id"]} | options
    with ClientAssertionCredential(func=lambda: token, **arguments) as credential:
        assert claims_of(credential.get_token(VAULT_SCOPE).token)["oid"] == federated["object_id"]
    with WorkloadIdentityCredential(token_file_path=str(file), **arguments) as credential:
        assert claims_of(credential.get_token(VAULT_SCOPE).token)["oid"] == federated["object_id"]
    async with AsyncClientAssertionCredential(func=lambda: token, **arguments) as credential:
        assert claims_of((await credential.get_token(VAULT_SCOPE)).token)["oid"] == federated["object_id"]
    async with AsyncWorkloadIdentityCredential(token_file_path=str(file), **arguments) as credential:
        assert claims_of((await credential.get_token(VAULT_SCOPE)).token)["oid"] == federated["object_id"]


@pytest.mark.usefixtures("managed_identity_environment")
async def test_a_managed_identity_stands_in_for_an_application(
    control: ControlClient, emulator: Endpoints, options: dict[str, Any]
) -> None:
    trust = {
        "issuer": f"{emulator.entra_url}/{seeds.CONTOSO_TENANT_ID}/v2.0",
        "subject": seeds.IDENTITY_OBJECT_ID,
        "audience": "api://AzureADTokenExchange",
    }
    made = await control.post("principals", {"display_name": "by identity", "federated": [trust], "with_secret": False})
    async with AsyncManagedIdentityCredential() as identity:
        assertion = (await identity.get_token("api://AzureADTokenExchange/.default")).token
    async with AsyncClientAssertionCredential(
        made["tenant_id"], made["client_id"], lambda: assertion, **options
    ) as credential:
        assert claims_of((await credential.get_token(VAULT_SCOPE)).token)["oid"] == made["object_id"]


@pytest.mark.usefixtures("managed_identity_environment")
async def test_default_credential_finds_the_managed_identity() -> None:
    with DefaultAzureCredential() as credential:
        assert claims_of(credential.get_token(VAULT_SCOPE).token)["oid"] == seeds.IDENTITY_OBJECT_ID
    async with AsyncDefaultAzureCredential() as credential:
        claims = claims_of((await credential.get_token("https://storage.azure.com/.default")).token)
    assert (claims["aud"], claims["appid"]) == ("https://storage.azure.com", seeds.IDENTITY_CLIENT_ID)


async def test_a_user_gets_a_token_for_the_api(emulator: Endpoints, https: aiohttp.ClientSession) -> None:
    form = {
        "grant_type": "password",
        "client_id": seeds.API_CLIENT_ID,
        "username": "Alice@contoso.example",
        "password": seeds.USER_PASSWORD,
        "scope": f"{seeds.API_AUDIENCE}/user_impersonation openid profile",
    }
    async with https.post(f"{emulator.entra_url}/contoso.example/oauth2/v2.0/token", data=form) as response:
        claims = claims_of((await response.json())["access_token"])
    assert claims["iss"] == f"{emulator.entra_url}/{seeds.CONTOSO_TENANT_ID}/v2.0"
    assert (claims["aud"], claims["oid"]) == (seeds.API_AUDIENCE, seeds.USER_OBJECT_IDS["alice"])
    assert (claims["preferred_username"], claims["name"]) == ("alice@contoso.example", "Alice")
    assert "idtyp" not in claims


async def test_an_application_gets_a_token_for_the_api(
    application: dict[str, str], token_of: Callable[..., Awaitable[str]]
) -> None:
    claims = claims_of(await token_of(application, seeds.API_AUDIENCE))
    assert (claims["idtyp"], claims["ver"], claims["azp"]) == ("app", "2.0", application["client_id"])


async def test_tokens_verify_with_the_published_keys(
    emulator: Endpoints, https: aiohttp.ClientSession, application: dict[str, str], token_of: Callable[..., Any]
) -> None:
    document_url = f"{emulator.entra_url}/{seeds.CONTOSO_TENANT_ID}/v2.0/.well-known/openid-configuration"
    async with https.get(document_url) as response:
        document = await response.json()
    async with https.get(document["jwks_uri"]) as response:
        keys = KeySet.import_key_set(await response.json())
    verified = jwt.decode(await token_of(application, seeds.API_AUDIENCE), keys, algorithms=["RS256"])
    assert verified.claims["iss"] == document["issuer"]


async def test_workload_tokens_verify_with_the_issuer_s_keys(
    control: ControlClient, https: aiohttp.ClientSession
) -> None:
    minted = await control.post("federated-token", {"subject": SUBJECT})
    async with https.get(f"{minted['issuer']}/.well-known/openid-configuration") as response:
        jwks_uri = (await response.json())["jwks_uri"]
    async with https.get(jwks_uri) as response:
        keys = KeySet.import_key_set(await response.json())
    assert jwt.decode(minted["token"], keys, algorithms=["RS256"]).claims["sub"] == SUBJECT


async def test_the_v1_endpoint_takes_a_resource(
    emulator: Endpoints, https: aiohttp.ClientSession, application: dict[str, str]
) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": application["client_id"],
        "client_secret": application["secret"],
        "resource": "https://management.azure.com/",
    }
    async with https.post(f"{emulator.entra_url}/{application['tenant_id']}/oauth2/token", data=form) as response:
        assert claims_of((await response.json())["access_token"])["aud"] == "https://management.azure.com"


async def test_instance_discovery(emulator: Endpoints, https: aiohttp.ClientSession) -> None:
    query = {"api-version": "1.1", "authorization_endpoint": f"{emulator.entra_url}/contoso.example/oauth2/authorize"}
    async with https.get(f"{emulator.entra_url}/common/discovery/instance", params=query) as response:
        discovered = await response.json()
    expected = f"{emulator.entra_url}/contoso.example/v2.0/.well-known/openid-configuration"
    assert discovered["tenant_discovery_endpoint"] == expected
