"""Import by transfer blob. The blobs are made here, by the specification's words, not by the emulator's code."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from azure.keyvault.keys import JsonWebKey
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from .clients import ClientOf, MakeRaw, TestVault, url64
from .transfer_blobs import blob, body, ciphertext, exchange_key, pkcs8, public_key

TARGET_RSA = rsa.generate_private_key(65537, 2048)
TARGET_EC = ec.generate_private_key(ec.SECP256K1())
TARGET_OCT = bytes(range(100, 132))


@pytest.mark.parametrize("size", [2048, 3072, 4096])
@pytest.mark.parametrize("kty", ["RSA-HSM", "EC-HSM", "oct-HSM"])
async def test_keys_arrive(raw_of: MakeRaw, hsm: TestVault, kty: str, size: int) -> None:
    raw = await raw_of(hsm)
    exchange = await exchange_key(raw, f"kek-{size}", size)
    plaintext = {"RSA-HSM": pkcs8(TARGET_RSA), "EC-HSM": pkcs8(TARGET_EC), "oct-HSM": TARGET_OCT}[kty]
    content = blob(exchange["key"]["kid"], ciphertext(public_key(exchange), plaintext))

    answer = await raw("PUT", f"/keys/target-{size}-{kty}", body(content, kty) | {"Hsm": False})

    assert (answer.status, answer.json["key"]["kty"]) == (200, kty)
    if kty == "RSA-HSM":
        assert public_key(answer.json).public_numbers() == TARGET_RSA.public_key().public_numbers()
    elif kty == "EC-HSM":
        x = TARGET_EC.public_key().public_numbers().x.to_bytes(32, "big")
        assert (answer.json["key"]["crv"], answer.json["key"]["x"]) == ("P-256K", url64(x))


async def test_the_sdk_imports_a_transfer_blob(raw_of: MakeRaw, client_of: ClientOf, vault: TestVault) -> None:
    exchange = await exchange_key(await raw_of(vault), "kek-sdk")
    content = json.dumps(blob(exchange["key"]["kid"], ciphertext(public_key(exchange), pkcs8(TARGET_RSA))))

    web_key = JsonWebKey(kty="RSA-HSM", key_ops=["sign"], t=content.encode())
    key = await client_of(vault).import_key("by-sdk", web_key)

    assert (key.key_type, key.key_operations) == ("RSA-HSM", ["sign"])
    assert int.from_bytes(key.key.n, "big") == TARGET_RSA.public_key().public_numbers().n


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
        lambda text: url64(text.replace('"', "'").encode()),
        lambda text: base64.b64encode((text + " ?>ÿ").replace(" ?>ÿ", "   ").encode()).decode(),
    ],
    ids=["standard", "padded", "single quotes", "white space"],
)
async def test_what_clients_in_use_send_is_read(
    raw_of: MakeRaw, vault: TestVault, encode: Callable[[str], str], request: pytest.FixtureRequest
) -> None:
    raw = await raw_of(vault)
    exchange = await exchange_key(raw, "kek-lenient")
    content = json.dumps(blob(exchange["key"]["kid"], ciphertext(public_key(exchange), pkcs8(TARGET_EC))))
    name = "lenient-" + request.node.callspec.id.replace(" ", "-")

    answer = await raw("PUT", f"/keys/{name}", {"key": {"kty": "EC-HSM", "crv": "P-256K", "key_hsm": encode(content)}})

    assert answer.status == 200


type Spoil = Callable[[dict[str, Any], rsa.RSAPublicKey], dict[str, Any]]


def sealed(make: Callable[[rsa.RSAPublicKey], bytes]) -> Spoil:
    return lambda content, exchange: content | {"ciphertext": url64(make(exchange))}


def header(**members: object) -> Spoil:
    return lambda content, _exchange: content | {"header": content["header"] | members}


SPOILT: dict[str, tuple[Spoil, str]] = {
    "schema": (lambda content, _: content | {"schema_version": "2.0"}, "schema version"),
    "no header": (lambda content, _: content | {"header": None}, "has no header"),
    "alg": (header(alg="RSA-OAEP"), "algorithm of the key transfer blob"),
    "enc": (header(enc="A256GCM"), "encryption of the key transfer blob"),
    "no kid": (header(kid=None), "has no kid"),
    "other vault": (header(kid="https://elsewhere.vault.azure.net/keys/kek/" + "0" * 32), "in another vault"),
    "no ciphertext": (lambda content, _: content | {"ciphertext": None}, "not base64url"),
    "not base64": (lambda content, _: content | {"ciphertext": "!"}, "not base64url"),
    "too short": (sealed(lambda exchange: ciphertext(exchange, pkcs8(TARGET_RSA))[:264]), "wrong length"),
    "cut": (sealed(lambda exchange: ciphertext(exchange, pkcs8(TARGET_RSA))[:-3]), "wrong length"),
    "oaep with sha-256": (
        sealed(lambda exchange: ciphertext(exchange, pkcs8(TARGET_RSA), digest=hashes.SHA256())),
        "cannot be decrypted with the key exchange key",
    ),
    "aes-128": (
        sealed(lambda exchange: ciphertext(exchange, pkcs8(TARGET_RSA), one_time_key=bytes(16))),
        "does not have 256 bits",
    ),
    "wrapped otherwise": (
        sealed(lambda exchange: ciphertext(exchange, b"x")[:256] + bytes(1200)),
        "cannot be unwrapped with the one-time key",
    ),
    "not pkcs8": (sealed(lambda exchange: ciphertext(exchange, b"no key at all")), "not valid PKCS#8"),
    "wrong type": (sealed(lambda exchange: ciphertext(exchange, pkcs8(TARGET_EC))), "of type EC, not RSA"),
    "small": (
        sealed(lambda exchange: ciphertext(exchange, pkcs8(rsa.generate_private_key(65537, 1024)))),  # noqa: S505 - to be refused
        "size 1024 is not supported",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
async def test_everything_wrong_has_its_own_answer(raw_of: MakeRaw, vault: TestVault, case: str) -> None:
    raw = await raw_of(vault)
    exchange = await exchange_key(raw, "kek-spoilt")
    public = public_key(exchange)
    spoil, text = SPOILT[case]
    good = blob(exchange["key"]["kid"], ciphertext(public, pkcs8(TARGET_RSA)))

    answer = await raw("PUT", "/keys/spoilt", body(spoil(good, public)))

    assert answer.error == (400, "BadParameter", None)
    assert text in answer.message
    assert (await raw("GET", "/keys/spoilt")).status == 404


@pytest.mark.parametrize("content", ["", "plain", "[]", "{"])
async def test_blobs_that_are_no_json_object(raw_of: MakeRaw, vault: TestVault, content: str) -> None:
    answer = await (await raw_of(vault))("PUT", "/keys/spoilt", body(content))

    assert answer.error == (400, "BadParameter", None)


async def test_the_key_exchange_key_is_checked(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)
    cases = {
        "not of type RSA-HSM": await exchange_key(raw, "kek-soft", kty="RSA"),
        "'import' as its only": await exchange_key(raw, "kek-ops", key_ops=["unwrapKey"]),
        "is disabled": await exchange_key(raw, "kek-off", attributes={"enabled": False}),
        "has expired": await exchange_key(raw, "kek-old", attributes={"exp": 1}),
    }

    for text, exchange in cases.items():
        content = blob(exchange["key"]["kid"], ciphertext(public_key(exchange), pkcs8(TARGET_RSA)))
        answer = await raw("PUT", "/keys/spoilt", body(content))
        assert (answer.error, text in answer.message) == ((400, "BadParameter", None), True), text

    content["header"]["kid"] = f"{vault.url}/keys/kek-old/{'0' * 32}"
    assert "was not found" in (await raw("PUT", "/keys/spoilt", body(content))).message


async def test_what_may_be_imported_where(raw_of: MakeRaw, vault: TestVault, standard: TestVault) -> None:
    raw = await raw_of(vault)
    exchange = await exchange_key(raw, "kek-where")
    content = blob(exchange["key"]["kid"], ciphertext(public_key(exchange), TARGET_OCT))

    symmetric = await raw("PUT", "/keys/nowhere", body(content, "oct-HSM"))
    software = await raw("PUT", "/keys/nowhere", body(content, "RSA"))
    on_standard = await (await raw_of(standard))("PUT", "/keys/nowhere", body(content, "RSA-HSM"))

    assert "supported on a Managed HSM only" in symmetric.message
    assert "protected by an HSM only" in software.message
    assert on_standard.error == (400, "BadParameter", None)


async def test_an_hsm_takes_every_type_as_its_own(raw_of: MakeRaw, hsm: TestVault) -> None:
    raw = await raw_of(hsm)
    exchange = await exchange_key(raw, "kek-types")
    for kty, plaintext in (("RSA", pkcs8(TARGET_RSA)), ("EC", pkcs8(TARGET_EC)), ("oct", TARGET_OCT)):
        content = blob(exchange["key"]["kid"], ciphertext(public_key(exchange), plaintext))
        answer = await raw("PUT", f"/keys/as-{kty}", body(content, kty))
        assert (answer.status, answer.json["key"]["kty"]) == (200, f"{kty}-HSM")
        assert "key_size" not in answer.json["attributes"]


async def test_the_curve_named_must_be_the_key_s(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)
    exchange = await exchange_key(raw, "kek-curve")
    content = blob(exchange["key"]["kid"], ciphertext(public_key(exchange), pkcs8(TARGET_EC)))

    answer = await raw("PUT", "/keys/nowhere", body(content, "EC-HSM", crv="P-256"))

    assert "on the curve P-256K, not on P-256" in answer.message


async def test_a_key_exchange_key_of_another_vault_does_not_open_the_blob(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)
    exchange, other = await exchange_key(raw, "kek-a"), await exchange_key(raw, "kek-b")
    content = blob(other["key"]["kid"], ciphertext(public_key(exchange), pkcs8(TARGET_RSA)))

    answer = await raw("PUT", "/keys/nowhere", body(content))

    assert "cannot be decrypted with the key exchange key" in answer.message
