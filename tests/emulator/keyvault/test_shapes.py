"""The wire as recorded from the services: members, their order, headers, and the texts of refusals."""

import re

import aiohttp
import pytest

from local.emulator.client import ControlClient, Endpoints

from .clients import API_VERSION, MakeRaw, MakeVault, RawClient, TestVault

VERSION = r"[0-9a-f]{32}"
LEARN_MORE = (
    " was not found in this key vault. If you recently deleted this key you may be able to recover it using the "
    "correct recovery command. For help resolving this issue, please see "
    "https://go.microsoft.com/fwlink/?linkid=2125182"
)
ACTIVITY = re.compile(r"^(.*) \(Activity ID: [0-9a-f-]{36}\)$")


async def test_vault_key_bundle(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)

    answer = await raw("POST", "/keys/Shape/create", {"kty": "RSA", "attributes": {"nbf": 7, "exp": 9}, "tags": {}})

    bundle = answer.json
    assert list(bundle) == ["key", "attributes"]
    assert list(bundle["key"]) == ["kid", "kty", "key_ops", "n", "e"]
    assert re.fullmatch(f"{vault.url}/keys/Shape/{VERSION}", bundle["key"]["kid"])
    assert bundle["key"]["e"] == "AQAB"
    assert bundle["key"]["key_ops"] == ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"]
    attributes = bundle["attributes"]
    assert attributes["created"] == attributes["updated"]
    assert [(name, value) for name, value in attributes.items() if name not in ("created", "updated")] == [
        ("enabled", True),
        ("key_size", 2048),
        ("nbf", 7),
        ("exp", 9),
        ("recoveryLevel", "CustomizedRecoverable+Purgeable"),
        ("recoverableDays", 7),
        ("exportable", False),
        ("hsmPlatform", "0"),
    ]
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


async def test_hsm_key_bundle_is_sorted(raw_of: MakeRaw, hsm: TestVault) -> None:
    raw = await raw_of(hsm)

    bundle = (await raw("POST", "/keys/shape/create", {"kty": "EC", "tags": {"b": "1", "a": "2"}})).json

    assert list(bundle) == ["attributes", "key", "tags"]
    assert list(bundle["tags"]) == ["a", "b"]
    assert list(bundle["key"]) == ["crv", "key_ops", "kid", "kty", "x", "y"]
    expected = ["created", "enabled", "exportable", "recoverableDays", "recoveryLevel", "updated"]
    assert list(bundle["attributes"]) == expected
    assert bundle["key"]["kty"] == "EC-HSM"


async def test_leading_zeros_of_a_modulus_are_dropped(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)
    web_key = {
        "kty": "EC",
        "crv": "P-256",
        # The generator of P-256 is the public key of the private key 1.
        "d": "AAAAAQ",
        "x": "AGsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW",
        "y": "AE_jQuL-Gn-bjufrSnwPnhYrzjNXazFezsu2QGg3v1H1",
    }

    bundle = (await raw("PUT", "/keys/zeros", {"key": web_key})).json

    assert bundle["key"]["x"] == "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY"
    assert bundle["key"]["key_ops"] == ["sign", "verify"]


async def test_list_items(raw_of: MakeRaw, make_vault: MakeVault) -> None:
    for sku, order in (("standard", ["kid", "attributes", "tags"]), ("managed_hsm", ["attributes", "kid", "tags"])):
        vault = await make_vault(sku)
        raw = await raw_of(vault)
        created = (await raw("POST", "/keys/item/create", {"kty": "EC", "tags": {"t": "1"}})).json

        for path, kid in (("/keys", f"{vault.url}/keys/item"), ("/keys/item/versions", created["key"]["kid"])):
            page = (await raw("GET", path)).json
            assert [list(item) for item in page["value"]] == [order]
            assert page["value"][0] == {"kid": kid, "attributes": created["attributes"], "tags": {"t": "1"}}


async def test_deleted_items_and_bundles(raw_of: MakeRaw, make_vault: MakeVault) -> None:
    vault = await make_vault("managed_hsm", retention_days=7)
    raw = await raw_of(vault)
    await raw("POST", "/keys/gone/create", {"kty": "EC"})

    bundle = (await raw("DELETE", "/keys/gone")).json
    item = (await raw("GET", "/deletedkeys")).json["value"][0]

    assert list(bundle) == ["attributes", "deletedDate", "key", "recoveryId", "scheduledPurgeDate"]
    assert bundle["recoveryId"] == f"{vault.url}/deletedkeys/gone"
    assert bundle["scheduledPurgeDate"] == bundle["deletedDate"] + 7 * 86400
    assert (await raw("GET", "/deletedkeys/gone")).json["recoveryId"] == bundle["recoveryId"]
    assert list(item) == ["attributes", "deletedDate", "kid", "recoveryId", "scheduledPurgeDate"]
    assert item["kid"] == f"{vault.url}/keys/gone"


async def test_the_challenge_names_tenant_and_resource(
    https: aiohttp.ClientSession, emulator: Endpoints, caller: dict[str, str], either: TestVault
) -> None:
    answer = await RawClient(https, either, None)("GET", "/keys/x/")

    resource = "https://managedhsm.azure.net" if either.is_hsm else "https://vault.azure.net"
    authority = f"{emulator.entra_url}/{caller['tenant_id']}"
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == f'Bearer authorization="{authority}", resource="{resource}"'
    if either.is_hsm:
        assert answer.text == ""
    else:
        assert answer.error == (401, "Unauthorized", None)
        assert answer.message == "AKV10000: Request is missing a Bearer, PoP, or MTLS_POP token."


async def test_a_token_for_another_audience_is_refused(
    https: aiohttp.ClientSession, raw_of: MakeRaw, vault: TestVault, hsm: TestVault
) -> None:
    for_hsm = (await raw_of(hsm))._token

    answer = await RawClient(https, vault, for_hsm)("GET", "/keys")

    assert answer.error == (401, "Unauthorized", None)
    expected = "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://managedhsm.azure.net."
    assert answer.message == expected
    assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize("token", ["", "abc", "a.b.c", "e30.e30.e30"])
async def test_a_malformed_token_is_refused(https: aiohttp.ClientSession, vault: TestVault, token: str) -> None:
    answer = await RawClient(https, vault, token or "x")("GET", "/keys")

    assert answer.error == (401, "Unauthorized", None)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/keys/lost"),
        ("GET", "/keys/lost/"),
        ("PATCH", "/keys/lost"),
        ("DELETE", "/keys/lost"),
        ("POST", "/keys/lost/backup"),
        ("POST", "/keys/lost/rotate"),
        ("GET", "/keys/lost/rotationpolicy"),
        ("PUT", "/keys/lost/rotationpolicy"),
        ("POST", "/keys/lost//sign"),
        ("POST", "/deletedkeys/lost/recover"),
    ],
)
async def test_unknown_names(raw_of: MakeRaw, either: TestVault, method: str, path: str) -> None:
    answer = await (await raw_of(either))(method, path, {} if method in ("PATCH", "PUT") else None)

    assert answer.error == (404, "KeyNotFound", None)
    if not either.is_hsm:
        assert answer.message == f"A key with (name/id) lost{LEARN_MORE}"
        return
    doubled = "Key not found: " if path.endswith("rotate") else ""
    match = ACTIVITY.match(answer.message)
    assert match is not None
    assert match[1] == f"{doubled}Key not found: {either.url}/keys/lost"


async def test_unknown_version_and_unknown_deleted_key(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)
    await raw("POST", "/keys/known/create", {"kty": "EC"})

    missing = await raw("GET", f"/keys/known/{'0' * 32}")
    deleted = await raw("GET", "/deletedkeys/known")

    assert missing.message == f"A key with (name/id) known/{'0' * 32}{LEARN_MORE}"
    assert (deleted.error, deleted.message) == ((404, "KeyNotFound", None), "Deleted Key not found: known")


@pytest.mark.parametrize("name", ["key!@$", "under_score", "dot.ted", "a" * 128])
async def test_bad_names(raw_of: MakeRaw, either: TestVault, name: str) -> None:
    answer = await (await raw_of(either))("POST", f"/keys/{name}/create", {"kty": "EC"})

    assert answer.error == (400, "BadParameter", None)
    if either.is_hsm:
        assert answer.message.startswith("Invalid key identifier or name (Activity ID: ")
    else:
        assert answer.message == f"The request URI contains an invalid name: {name}"


async def test_names_that_the_web_server_refuses(raw_of: MakeRaw, vault: TestVault) -> None:
    answer = await (await raw_of(vault))("GET", "/keys/%3Cb%3E")

    assert answer.status == 400
    assert answer.headers["Content-Type"].startswith("text/html")


async def test_requests_without_a_name_or_with_an_unknown_word(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)

    assert (await raw("POST", "/keys//create", {"kty": "EC"})).message == "Operation not specified"
    for method, path in (
        ("POST", "/keys/a/frobnicate"),
        ("PUT", "/keys"),
        ("GET", "/secrets"),
        ("GET", "/keys/a/b/c/d"),
    ):
        assert (await raw(method, path)).error == (400, "BadParameter", None)


async def test_a_vault_needs_an_api_version(https: aiohttp.ClientSession, raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)

    answer = await raw("GET", f"{vault.url}/keys")

    assert answer.error == (400, "BadParameter", None)
    assert (await raw("GET", f"{vault.url}/keys?api-version={API_VERSION}")).status == 200


async def test_empty_key_types_and_imports_without_key(raw_of: MakeRaw, vault: TestVault, hsm: TestVault) -> None:
    raw, raw_hsm = await raw_of(vault), await raw_of(hsm)

    assert (await raw("POST", "/keys/none/create", {})).message == "Property  has invalid value\r\n"
    expected = 'The property "key" must be a valid JsonWebKey object.'
    assert (await raw("PUT", "/keys/none", {"key": {}})).message == expected
    assert (await raw_hsm("PUT", "/keys/none", {"key": {}})).message.startswith("JSON Web Key: kty is missing (Act")


async def test_keys_of_certificates_are_managed(control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault) -> None:
    vault = await make_vault("standard")
    await control.post(f"vaults/{vault.name}/keys", {"keys": [{"name": "cert", "managed": True}]})
    raw = await raw_of(vault)

    answer = await raw("DELETE", "/keys/cert")

    assert answer.error == (403, "Forbidden", "KeyManagedByKeyVault")
    assert (await raw("GET", "/keys")).json["value"][0]["managed"] is True
