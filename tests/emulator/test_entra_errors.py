"""Refused sign-ins: HTTP status, OAuth error and AADSTS code of each, and what the SDK makes of them."""

import base64
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientSecretCredential
from azure.identity.aio import ClientSecretCredential as AsyncClientSecretCredential
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from joserfc import jwt
from joserfc.jwk import RSAKey

from local.emulator import seeds
from local.emulator.client import ControlClient, Endpoints
from local.emulator.tokens import SigningKey

TENANT = seeds.CONTOSO_TENANT_ID
NOBODY = "99999999-9999-9999-9999-999999999999"
VAULT_SCOPE = "https://vault.azure.net/.default"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SUBJECT = "repo:contoso/keys"


@pytest.fixture
async def application(control: ControlClient, emulator: Endpoints) -> dict[str, str]:
    trust = {"issuer": f"{emulator.entra_url}/workload", "subject": SUBJECT, "audience": "api://AzureADTokenExchange"}
    made: dict[str, str] = await control.post("principals", {"display_name": "refused", "federated": [trust]})
    return made


class TokenEndpoint:
    """The token endpoint and a form that would be accepted."""

    def __init__(self, emulator: Endpoints, https: aiohttp.ClientSession, application: dict[str, str]) -> None:
        self._emulator = emulator
        self._https = https
        self.form = {
            "grant_type": "client_credentials",
            "client_id": application["client_id"],
            "client_secret": application["secret"],
            "scope": VAULT_SCOPE,
        }

    async def post(self, form: dict[str, str], *, tenant: str = TENANT) -> tuple[int, dict[str, Any]]:
        url = f"{self._emulator.entra_url}/{tenant}/oauth2/v2.0/token"
        async with self._https.post(url, data=form, headers={"client-request-id": "corr"}) as response:
            return response.status, await response.json()

    async def assert_assertion(self, assertion: str) -> tuple[int, str, int]:
        form = {name: value for name, value in self.form.items() if name != "client_secret"}
        proof = {"client_assertion": assertion, "client_assertion_type": ASSERTION_TYPE}
        status, body = await self.post(form | proof)
        return status, body["error"], body["error_codes"][0]


@pytest.fixture
def endpoint(emulator: Endpoints, https: aiohttp.ClientSession, application: dict[str, str]) -> TokenEndpoint:
    return TokenEndpoint(emulator, https, application)


USER_FORM = {"grant_type": "password", "client_id": seeds.API_CLIENT_ID, "username": "alice@contoso.example"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"client_secret": "wrong"}, (401, "invalid_client", 7000215)),
        ({"client_secret": ""}, (401, "invalid_client", 7000216)),
        ({"client_id": NOBODY}, (400, "unauthorized_client", 700016)),
        ({"client_id": ""}, (400, "invalid_request", 900144)),
        ({"grant_type": ""}, (400, "invalid_request", 900144)),
        ({"grant_type": "device_code"}, (400, "unsupported_grant_type", 70003)),
        ({"scope": ""}, (400, "invalid_scope", 70011)),
        ({"scope": "nonsense"}, (400, "invalid_scope", 70011)),
        ({"scope": "https://vault.azure.net/read"}, (400, "invalid_scope", 1002012)),
        ({"scope": "https://unknown.example/.default"}, (400, "invalid_resource", 500011)),
        ({"client_assertion": "a.b.c"}, (400, "invalid_request", 50027)),
        (USER_FORM | {"password": "wrong"}, (400, "invalid_grant", 50126)),
        (USER_FORM | {"username": "mallory@contoso.example"}, (400, "invalid_grant", 50034)),
        (USER_FORM | {"username": ""}, (400, "invalid_request", 900144)),
    ],
)
async def test_refusals(endpoint: TokenEndpoint, change: dict[str, str], expected: tuple[int, str, int]) -> None:
    form = {
        name: value for name, value in (endpoint.form | change).items() if "username" not in change or name in change
    }
    status, body = await endpoint.post(form | ({"scope": VAULT_SCOPE} if "username" in change else {}))
    assert (status, body["error"], body["error_codes"]) == (*expected[:2], [expected[2]])
    assert body["error_description"].startswith(f"AADSTS{expected[2]}: ")
    assert body["correlation_id"] == "corr"
    assert {"timestamp", "trace_id", "error_uri"} <= body.keys()


async def test_unknown_tenant(endpoint: TokenEndpoint, emulator: Endpoints, https: aiohttp.ClientSession) -> None:
    status, body = await endpoint.post(endpoint.form, tenant=NOBODY)
    assert (status, body["error"], body["error_codes"]) == (400, "invalid_request", [90002])
    async with https.get(f"{emulator.entra_url}/{NOBODY}/v2.0/.well-known/openid-configuration") as response:
        assert (response.status, (await response.json())["error"]) == (400, "invalid_tenant")


async def test_an_application_of_another_tenant(endpoint: TokenEndpoint, control: ControlClient) -> None:
    tenant = await control.post("tenants", {"display_name": "fabrikam"})
    status, body = await endpoint.post(endpoint.form, tenant=tenant["id"])
    assert (status, body["error_codes"]) == (400, [700016])


async def test_expired_secret(endpoint: TokenEndpoint, control: ControlClient, application: dict[str, str]) -> None:
    path = f"principals/{application['object_id']}/secrets"
    old = await control.post(path, {"expires_on": time.time() - 1})
    status, body = await endpoint.post(endpoint.form | {"client_secret": old["secret"]})
    assert (status, body["error"], body["error_codes"]) == (401, "invalid_client", [7000222])
    await control.delete(path)
    status, body = await endpoint.post(endpoint.form)
    assert body["error_codes"] == [7000215]


async def test_federated_assertions(endpoint: TokenEndpoint, control: ControlClient, emulator: Endpoints) -> None:
    async def minted(**body: str | int) -> str:
        return str((await control.post("federated-token", {"subject": SUBJECT} | body))["token"])

    assert await endpoint.assert_assertion(await minted(subject="other")) == (401, "invalid_client", 700213)
    assert await endpoint.assert_assertion(await minted(audience="other")) == (401, "invalid_client", 700212)
    assert await endpoint.assert_assertion(await minted(lifetime_seconds=-3600)) == (401, "invalid_client", 700024)
    stranger = SigningKey()
    claims: dict[str, Any] = {"sub": SUBJECT, "aud": "api://AzureADTokenExchange", "exp": time.time() + 600}
    unknown = stranger.sign(claims | {"iss": "https://stranger.example"})
    assert await endpoint.assert_assertion(unknown) == (401, "invalid_client", 700211)
    forged = stranger.sign(claims | {"iss": f"{emulator.entra_url}/workload"})
    assert await endpoint.assert_assertion(forged) == (401, "invalid_client", 700027)


async def test_certificate_assertions(
    endpoint: TokenEndpoint,
    control: ControlClient,
    emulator: Endpoints,
    application: dict[str, str],
    certificate_and_key: Callable[..., tuple[str, bytes]],
) -> None:
    current, expired = certificate_and_key(days=1), certificate_and_key(days=-1)
    known = {"certificates": [current[0], expired[0]]}
    await control.patch(f"principals/{application['object_id']}", known)
    audience = f"{emulator.entra_url}/{TENANT}/oauth2/v2.0/token"

    async def outcome(
        signer: tuple[str, bytes], claims: dict[str, Any], *, named: tuple[str, bytes] | None = None, alg: str = "RS256"
    ) -> tuple[int, str, int]:
        certificate = x509.load_pem_x509_certificate((named or signer)[0].encode())
        thumbprint = base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
        header = {"alg": alg, "x5t#S256": thumbprint}
        body = {"iss": application["client_id"], "aud": audience, "exp": int(time.time()) + 600} | claims
        assertion = jwt.encode(header, body, RSAKey.import_key(signer[1]), algorithms=["RS256", "RS512"])
        return await endpoint.assert_assertion(assertion)

    refused = (401, "invalid_client")
    assert await outcome(certificate_and_key(days=1), {}) == (*refused, 700027)
    assert await outcome(expired, {}, named=current) == (*refused, 700027)
    assert await outcome(current, {}, alg="RS512") == (*refused, 700027)
    assert await outcome(expired, {}) == (*refused, 1000502)
    assert await outcome(current, {"aud": "https://elsewhere.example"}) == (*refused, 700023)
    assert await outcome(current, {"exp": int(time.time()) - 600}) == (*refused, 700024)
    assert await outcome(current, {"exp": None}) == (400, "invalid_request", 50027)


async def test_the_sdk_reports_the_code(emulator: Endpoints, application: dict[str, str]) -> None:
    options: dict[str, Any] = {
        "authority": emulator.entra_url,
        "connection_verify": emulator.ca_file,
        "disable_instance_discovery": True,
    }
    arguments = (TENANT, application["client_id"], "wrong")
    async with AsyncClientSecretCredential(*arguments, **options) as credential:
        with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
            await credential.get_token(VAULT_SCOPE)
    with (
        ClientSecretCredential(*arguments, **options) as credential,
        pytest.raises(ClientAuthenticationError, match="AADSTS7000215"),
    ):
        credential.get_token(VAULT_SCOPE)


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({}, {}, 401),
        ({"X-IDENTITY-HEADER": "wrong"}, {}, 401),
        (None, {"client_id": NOBODY}, 400),
        (None, {"client_id": seeds.API_CLIENT_ID}, 400),
        (None, {"resource": "https://unknown.example"}, 400),
        (None, {"api-version": "2017-09-01"}, 400),
        (None, {"client_id": seeds.IDENTITY_CLIENT_ID}, 200),
    ],
)
async def test_managed_identity_endpoint(
    emulator: Endpoints,
    https: aiohttp.ClientSession,
    headers: dict[str, str] | None,
    query: dict[str, str],
    status: int,
) -> None:
    asked = {"api-version": "2019-08-01", "resource": "https://vault.azure.net"} | query
    given = {"X-IDENTITY-HEADER": emulator.identity_header} if headers is None else headers
    async with https.get(emulator.identity_endpoint, params=asked, headers=given) as response:
        assert response.status == status
        assert ("access_token" in await response.json()) is (status == 200)
