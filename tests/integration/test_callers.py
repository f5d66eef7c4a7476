"""Callers over HTTP: whom a token or an API key proves, and what proves nobody."""

import base64
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import RSAKey

from local.emulator.access_tokens import TOKEN_EXCHANGE
from local.emulator.seeds import API_AUDIENCE, CONTOSO_TENANT_ID, USER_OBJECT_IDS
from local.host.claims import principal_headers
from local.stack import HostOptions, Stack
from local.stack.stack import ROOT
from tests.integration.client import Api, Json
from tests.integration.estate import Estate, Site

HOUR = 3_600


def forged(user: str) -> dict[str, str]:
    """The platform's headers for a user, made by a client."""
    claims = {"tid": CONTOSO_TENANT_ID, "oid": USER_OBJECT_IDS[user], "name": user, "scp": "user_impersonation"}
    return principal_headers(claims)


def unsigned(part: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def claims_of(token: str) -> Json:
    claims: Json = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return claims


async def service(site: Site, **members: object) -> Json:
    """An Entra application with a client secret."""
    made: Json = await site.control.post("principals", {"display_name": "pipeline", **members})
    site.ledger.add("client secret", made["secret"])
    return made


async def service_token(site: Site, who: Json, **form: str) -> str:
    return await site.entra_token(who, grant_type="client_credentials", client_secret=who["secret"], **form)


async def test_a_user_is_whom_the_token_names(site: Site) -> None:
    for user in ("alice", "bob"):
        caller = (await (await site.user(user)).get("me"))["caller"]
        assert (caller["kind"], caller["tenant_id"]) == ("user", CONTOSO_TENANT_ID)
        assert (caller["object_id"], caller["email"]) == (USER_OBJECT_IDS[user], f"{user}@contoso.example")


async def test_nobody_is_refused_and_told_how_to_sign_in(estate: Estate) -> None:
    nobody = estate.site.api()
    for path in ("me", "accounts", f"accounts/{estate.account}", f"accounts/{estate.account}/keys"):
        await nobody.refused("GET", path, status=401, code="not_authenticated")
    reply = await nobody.send("GET", "me")
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    for public in ("health", "docs", "openapi.json"):
        await nobody.done("GET", public)


async def test_a_forged_principal_is_stripped(estate: Estate) -> None:
    path = f"accounts/{estate.account}"
    await estate.site.api(forged("alice")).refused("GET", path, status=401, code="not_authenticated")
    shouted = {name.upper(): value for name, value in forged("alice").items()}
    await estate.site.api(shouted).refused("GET", path, status=401, code="not_authenticated")

    bob = await estate.site.user("bob")
    reply = await bob.done("GET", "me", headers=forged("alice"))
    assert reply.json["caller"]["object_id"] == USER_OBJECT_IDS["bob"]
    await bob.refused("GET", path, status=404, code="account_not_found", headers=forged("alice"))


@pytest_asyncio.fixture
async def open_host(site: Site, tmp_path: Path) -> AsyncIterator[Stack]:
    """A product of its own, before which nobody verifies callers."""
    options = HostOptions(app_dir=ROOT, auth_platform=False)
    async with Stack(tmp_path, host_options=options) as started:
        yield started


async def test_without_the_platforms_word_no_principal_is_believed(site: Site, open_host: Stack) -> None:
    root = f"{open_host.host_url}/api/v1"
    token = site.ledger.add("user token", await open_host.user_token("alice"))
    for headers in (forged("alice"), {"Authorization": f"Bearer {token}"}, {**forged("alice"), "Authorization": "x"}):
        caller = Api(site.session, root, headers)
        await caller.refused("GET", "me", status=401, code="not_authenticated")
        await caller.refused("POST", "accounts", {"title": "Mine"}, status=401, code="not_authenticated")
    await Api(site.session, root).done("GET", "health")


async def refused_token(site: Site, token: str) -> None:
    """The platform refuses it; the product does not even see the request."""
    reply = await site.bearer(token).send("GET", "me")
    assert (reply.status, reply.content) == (401, b"")
    assert "invalid_token" in reply.headers["WWW-Authenticate"]


async def test_a_wrong_signature(site: Site) -> None:
    token = await site.token("bob")
    header, payload, signature = token.split(".")
    stolen = claims_of(token) | {"oid": USER_OBJECT_IDS["alice"]}
    kid = json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]
    other_key = jwt.encode({"alg": "RS256", "kid": kid}, stolen, RSAKey.generate_key(2048))
    none = unsigned({"alg": "none", "typ": "JWT"})
    for tampered in (
        f"{header}.{unsigned(stolen)}.{signature}",
        f"{none}.{unsigned(stolen)}.",
        f"{none}.{payload}.{signature}",
        other_key,
        f"{header}.{payload}.",
        "a.b.c",
    ):
        await refused_token(site, tampered)
    await site.bearer(token).done("GET", "me")


async def test_a_wrong_issuer(site: Site) -> None:
    tenant = await site.control.post(
        "tenants", {"display_name": f"t{uuid.uuid4().hex}", "api_audiences": [API_AUDIENCE]}
    )
    who = await service(site, tenant_id=tenant["id"])
    token = await service_token(site, who)
    ours = claims_of(await service_token(site, await service(site)))
    assert {"iss", "tid"} <= {name for name, value in claims_of(token).items() if value != ours[name]}
    assert claims_of(token)["aud"] == ours["aud"]
    await refused_token(site, token)


async def test_a_wrong_audience(site: Site) -> None:
    who = await service(site)
    token = await service_token(site, who, scope=f"{TOKEN_EXCHANGE}/.default")
    right = await service_token(site, who)
    assert claims_of(token)["iss"] == claims_of(right)["iss"]
    await refused_token(site, token)
    await site.bearer(right).done("GET", "me")


async def test_an_expired_token(site: Site) -> None:
    await site.control.put("clock", {"token_offset_seconds": -2 * HOUR})
    try:
        token = site.ledger.add("user token", await site.stack.user_token("alice"))
    finally:
        await site.control.put("clock", {"token_offset_seconds": 0})
    assert claims_of(token)["exp"] < datetime.now(UTC).timestamp()
    await refused_token(site, token)


async def test_a_service_principal_is_the_application_that_it_is_bound_to(estate: Estate) -> None:
    group = await estate.source_group()
    who = await service(estate.site)
    caller = estate.site.bearer(await service_token(estate.site, who))
    ours = caller.within(f"accounts/{estate.account}/")
    assert (await caller.get("me"))["accounts"] == []
    await ours.refused("GET", f"groups/{group}", status=404, code="account_not_found")

    made = await estate.api.post("applications", {"title": "Pipeline", "groups": {group: "operator"}})
    path = f"applications/{made['id']}"
    binding = {"tenant_id": who["tenant_id"], "object_id": who["object_id"]}
    bound = await estate.api.change("PUT", f"{path}/service-principal", binding, of=path)
    assert bound["object_id"] == who["object_id"]
    me = await caller.get("me")
    assert (me["caller"]["kind"], me["caller"]["object_id"]) == ("service_principal", who["object_id"])
    assert [(mine["id"], mine["principal"], mine["kind"]) for mine in me["accounts"]] == [
        (estate.account, made["id"], "application")
    ]
    assert (await ours.get(f"groups/{group}"))["id"] == group
    await ours.refused("GET", "members", status=403, code="not_permitted")

    other = {"title": "Another", "service_principal": binding}
    await estate.api.refused("POST", "applications", other, status=409, code="identity_in_use")
    await estate.api.change("DELETE", f"{path}/service-principal", of=path)
    await ours.refused("GET", f"groups/{group}", status=404, code="account_not_found")


async def test_an_object_id_of_another_tenant_is_somebody_else(estate: Estate) -> None:
    group = await estate.source_group()
    who = await service(estate.site)
    namesake = {"tenant_id": str(uuid.uuid4()), "object_id": who["object_id"]}
    body = {"title": "P", "groups": {group: "operator"}, "service_principal": namesake}
    await estate.api.post("applications", body)
    caller = estate.site.bearer(await service_token(estate.site, who)).within(f"accounts/{estate.account}/")
    await caller.refused("GET", f"groups/{group}", status=404, code="account_not_found")


async def an_application(estate: Estate) -> str:
    return str((await estate.api.post("applications", {"title": "A program"}))["id"])


async def works(estate: Estate, text: str) -> None:
    await estate.as_application(text).done("GET", "groups")


async def refused(estate: Estate, text: str, code: str) -> None:
    await estate.as_application(text).refused("GET", "groups", status=401, code=code)


async def rotate(estate: Estate, path: str, body: Json) -> Json:
    issued: Json = await estate.api.post(f"{path}/rotate", body)
    estate.site.ledger.add("API key", issued["api_key"])
    return issued


async def test_a_rotated_api_key_works_up_to_the_end_of_the_overlap(estate: Estate) -> None:
    application = await an_application(estate)
    old = await estate.api_key(application)
    path = f"applications/{application}/api-keys/{old['id']}"
    new = await rotate(estate, path, {"overlap_seconds": HOUR})
    assert new["api_key"] != old["api_key"]
    ends = datetime.fromisoformat((await estate.api.get(path))["expires_on"])
    assert (await estate.api.get(path))["replaced_by"] == new["id"]
    assert abs(ends - datetime.now(UTC) - timedelta(seconds=HOUR)) < timedelta(seconds=30)
    await estate.api.refused("POST", f"{path}/rotate", status=409, code="api_key_not_active")
    await works(estate, old["api_key"])
    await works(estate, new["api_key"])
    async with estate.site.product_clock(HOUR - 60):
        await works(estate, old["api_key"])
    async with estate.site.product_clock(HOUR + 1):
        await refused(estate, old["api_key"], "api_key_expired")
        await works(estate, new["api_key"])


async def test_a_rotation_without_overlap_ends_the_old_api_key(estate: Estate) -> None:
    application = await an_application(estate)
    old = await estate.api_key(application)
    await works(estate, old["api_key"])
    path = f"applications/{application}/api-keys/{old['id']}"
    problem = await estate.api.refused(
        "POST", f"{path}/rotate", {"overlap_seconds": 2_592_001}, status=400, code="invalid_field"
    )
    assert problem["field"] == "overlap_seconds"
    new = await rotate(estate, path, {"overlap_seconds": 0})
    await refused(estate, old["api_key"], "api_key_expired")
    await works(estate, new["api_key"])


async def test_what_is_no_api_key(estate: Estate) -> None:
    text = (await estate.api_key(await an_application(estate)))["api_key"]
    start, secret = text[:-43], text[-43:]
    answers = set()
    for garbage in (
        "ks_",
        "ks_a",
        f"{start}{'x' * 43}",
        f"{start}{secret[:-1]}",
        f"{text}x",
        f"ks_{'a' * 24}_{secret}",
        f"{text} {text}",
        text.replace("ks_", "ks_ks_"),
        "ks_" + "%00" * 20,
        "ks_" + "x" * 4_000,
    ):
        reply = await estate.as_application(garbage).send("GET", "groups")
        assert garbage.encode() not in reply.content
        answers.add((reply.status, reply.content.replace(reply.headers["x-correlation-id"].encode(), b"")))
    assert len(answers) == 1, "wrong, unknown and malformed cannot be told apart"
    assert next(iter(answers))[0] == 401
    for scheme in ("Basic", "ApiKey", ""):
        caller = estate.site.api({"Authorization": f"{scheme} {text}".strip()})
        await caller.refused("GET", "me", status=401, code="not_authenticated")
    await estate.site.api({"Authorization": f"bearer {text}"}).done("GET", "me")


async def test_two_credentials_prove_nobody(estate: Estate) -> None:
    text = (await estate.api_key(await an_application(estate)))["api_key"]
    both = [("Authorization", f"Bearer {await estate.site.token('alice')}"), ("Authorization", f"Bearer {text}")]
    url = f"{estate.site.stack.host_url}/api/v1/me"
    for headers in (both, both[::-1]):
        async with estate.site.session.get(url, headers=headers) as response:
            assert response.status == 401


async def test_an_api_key_beside_a_forged_principal_is_the_api_key(estate: Estate) -> None:
    application = await an_application(estate)
    text = (await estate.api_key(application))["api_key"]
    reply = await estate.site.bearer(text).done("GET", "me", headers=forged("alice"))
    assert reply.json["caller"]["principal"] == application
    await estate.site.bearer(text).refused("POST", "accounts", {"title": "Mine"}, status=403, code="not_permitted")
