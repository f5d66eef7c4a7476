"""App Service Authentication as the host plays it, against the emulated Entra."""

import base64
import json
import time
from typing import Any

import aiohttp
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from local.emulator import seeds
from local.host.claims import principal_headers
from local.stack import IdentityCredential, Stack

OBJECT_ID = "http://schemas.microsoft.com/identity/claims/objectidentifier"
TENANT_ID = "http://schemas.microsoft.com/identity/claims/tenantid"
FORGED = {
    "X-MS-CLIENT-PRINCIPAL": "forged",
    "x-ms-client-principal-id": "forged",
    "X-Ms-Client-Principal-Xyz": "forged",
}


async def headers_seen(client: aiohttp.ClientSession, headers: dict[str, str]) -> dict[str, str]:
    async with client.get("/api/echo/someone", headers=headers) as response:
        assert response.status == 200
        answer: dict[str, Any] = await response.json()
    return {name: value for name, value in answer["headers"].items() if name.startswith("x-ms-client")}


async def test_verified_token_becomes_the_principal(sample_stack: Stack, client: aiohttp.ClientSession) -> None:
    token = await sample_stack.user_token("alice")
    for _ in range(2):
        seen = await headers_seen(client, {"Authorization": f"Bearer {token}", **FORGED})
        principal = json.loads(base64.b64decode(seen.pop("x-ms-client-principal")))
        assert seen == {
            "x-ms-client-principal-id": seeds.USER_OBJECT_IDS["alice"],
            "x-ms-client-principal-name": "alice@contoso.example",
            "x-ms-client-principal-idp": "aad",
        }
        claims = {claim["typ"]: claim["val"] for claim in principal["claims"]}
        assert principal["auth_typ"] == "aad"
        assert (claims[OBJECT_ID], claims[TENANT_ID]) == (seeds.USER_OBJECT_IDS["alice"], seeds.CONTOSO_TENANT_ID)


@pytest.mark.parametrize("authorization", [None, "Bearer ks_abc_def", "Basic YTpi", "Bearer a.b"])
async def test_other_callers_pass_anonymously(client: aiohttp.ClientSession, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    assert await headers_seen(client, {**headers, **FORGED}) == {}


async def _status(client: aiohttp.ClientSession, token: str) -> int:
    async with client.get("/api/noop", headers={"Authorization": f"Bearer {token}"}) as response:
        assert response.headers.get("WWW-Authenticate", "").startswith("Bearer") or response.status == 204
        return response.status


async def test_tampered_tokens_are_refused(sample_stack: Stack, client: aiohttp.ClientSession) -> None:
    header, payload, signature = (await sample_stack.user_token("alice")).split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    other = base64.urlsafe_b64encode(json.dumps(claims | {"oid": "x"}).encode()).rstrip(b"=").decode()
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    for token in (f"{header}.{other}.{signature}", f"{unsigned}.{payload}.", "a.b.c", f"{header}.{payload}.AAAA"):
        assert await _status(client, token) == 401


async def test_token_of_another_signer_is_refused(sample_stack: Stack, client: aiohttp.ClientSession) -> None:
    header, payload, _ = (await sample_stack.user_token("alice")).split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    genuine_kid = json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]
    for kid in (genuine_kid, "unknown"):
        assert await _status(client, jwt.encode({"alg": "RS256", "kid": kid}, claims, RSAKey.generate_key(2048))) == 401


async def test_token_for_another_audience_is_refused(sample_stack: Stack, client: aiohttp.ClientSession) -> None:
    token = await IdentityCredential(sample_stack.endpoints).get_token("https://vault.azure.net/.default")
    assert await _status(client, token.token) == 401


async def test_expired_token_is_refused(sample_stack: Stack, client: aiohttp.ClientSession) -> None:
    async with aiohttp.ClientSession(sample_stack.control_url, raise_for_status=True) as control:
        await control.put("/control/clock", json={"token_offset_seconds": -100_000})
        try:
            token = await sample_stack.user_token("alice")
        finally:
            await control.put("/control/clock", json={"token_offset_seconds": 0})
    assert json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["exp"] < time.time()
    assert await _status(client, token) == 401


async def test_app_is_told_that_the_platform_is_in_charge(client: aiohttp.ClientSession) -> None:
    async with client.get("/api/setting/WEBSITE_AUTH_ENABLED") as response:
        assert await response.json() == "True"


def test_claims_with_several_values_appear_once_each() -> None:
    headers = principal_headers({"roles": ["a", "b"], "groups": ["g"], "exp": 1, "azp": "app"})
    claims = json.loads(base64.b64decode(headers["x-ms-client-principal"]))["claims"]
    role = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
    assert [(claim["typ"], claim["val"]) for claim in claims] == [
        (role, "a"),
        (role, "b"),
        ("groups", "g"),
        ("exp", "1"),
        ("azp", "app"),
    ]
