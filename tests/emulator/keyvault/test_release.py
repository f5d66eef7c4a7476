"""Release policies, secure key release and attestation."""

import base64
import json
import time
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys import KeyReleasePolicy
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding
from cryptography.hazmat.primitives.serialization import load_der_private_key
from joserfc import jwt
from joserfc.jwk import RSAKey

from .clients import ClientOf, MakeRaw, RawClient, TestVault, from_url64, url64

AUTHORITY = "https://attestation.example"
POLICY = {
    "version": "1.0.0",
    "anyOf": [
        {
            "authority": AUTHORITY,
            "allOf": [
                {"claim": "x-ms-isolation.type", "equals": "sevsnpvm"},
                {"anyOf": [{"claim": "debuggable", "equals": "false"}]},
            ],
        }
    ],
}
ENVIRONMENT = rsa.generate_private_key(65537, 2048)
ATTESTER = RSAKey.generate_key(2048)


def attestation(signer: RSAKey = ATTESTER, **changes: object) -> str:
    numbers = ENVIRONMENT.public_key().public_numbers()
    runtime = {"kty": "RSA", "kid": "tee", "n": url64(numbers.n.to_bytes(256, "big")), "e": "AQAB"}
    claims: dict[str, Any] = {
        "iss": AUTHORITY,
        "exp": int(time.time()) + 600,
        "x-ms-isolation": {"type": "sevsnpvm"},
        "debuggable": False,
        "x-ms-runtime": {"keys": [runtime]},
    }
    header = {"alg": "RS256", "jwk": dict(ATTESTER.as_dict(private=False))}
    return jwt.encode(header, claims | changes, signer)


def policy(*, immutable: bool = False) -> dict[str, object]:
    return {"data": url64(json.dumps(POLICY).encode()), "immutable": immutable}


async def exportable(raw: RawClient, name: str, *, immutable: bool = False) -> dict[str, Any]:
    answer = await raw(
        "POST",
        f"/keys/{name}/create",
        {"kty": "RSA-HSM", "attributes": {"exportable": True}, "release_policy": policy(immutable=immutable)},
    )
    assert answer.status == 200
    return dict(answer.json)


@pytest.mark.parametrize(
    ("encryption", "digest"),
    [
        ("CKM_RSA_AES_KEY_WRAP", hashes.SHA1()),  # noqa: S303 - what the name means
        ("RSA_AES_KEY_WRAP_256", hashes.SHA256()),
        ("RSA_AES_KEY_WRAP_384", hashes.SHA384()),
    ],
)
async def test_the_environment_can_open_a_released_key(
    raw_of: MakeRaw, client_of: ClientOf, either: TestVault, encryption: str, digest: hashes.HashAlgorithm
) -> None:
    name = "release-" + encryption.replace("_", "-")
    made = await exportable(await raw_of(either), name)

    released = await client_of(either).release_key(name, attestation(), algorithm=encryption, nonce="n")

    header, payload, _ = released.value.split(".")
    certificate = x509.load_der_x509_certificate(base64.b64decode(json.loads(from_url64(header))["x5c"][0]))
    public = certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    signed, signature = released.value.rsplit(".", 1)
    public.verify(from_url64(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    statement = json.loads(from_url64(payload))
    assert (statement["request"]["enc"], statement["request"]["nonce"]) == (encryption, "n")
    key = statement["response"]["key"]["key"]
    assert (key["kid"], key["n"]) == (made["key"]["kid"], made["key"]["n"])
    blob = json.loads(from_url64(key["key_hsm"]))
    assert blob["header"] == {"kid": "tee", "alg": "dir", "enc": encryption}
    sealed = from_url64(blob["ciphertext"])
    one_time_key = ENVIRONMENT.decrypt(sealed[:256], padding.OAEP(padding.MGF1(digest), digest, None))
    private = load_der_private_key(aes_key_unwrap_with_padding(one_time_key, sealed[256:]), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    assert private.public_key().public_numbers().n == int.from_bytes(from_url64(made["key"]["n"]), "big")


@pytest.mark.parametrize(
    "target",
    [
        "",
        "abc",
        "a.b.c",
        attestation(RSAKey.generate_key(2048)),
        attestation(iss="https://other.example"),
        attestation(exp=int(time.time()) - 10),
        attestation(debuggable=True),
        attestation(**{"x-ms-isolation": {"type": "none"}}),
        attestation(**{"x-ms-runtime": {"keys": []}}),
        attestation(**{"x-ms-runtime": {"keys": [{"kty": "RSA", "n": "!", "e": "AQAB"}]}}),
    ],
)
async def test_other_environments_get_nothing(raw_of: MakeRaw, either: TestVault, target: str) -> None:
    raw = await raw_of(either)
    if (await raw("GET", "/keys/kept")).status == 404:
        await exportable(raw, "kept")

    answer = await raw("POST", "/keys/kept/release", {"target": target})

    if not target:
        assert answer.error == (400, "BadParameter", None)
        return
    assert answer.error == (403, "Forbidden", "AccessDenied")
    assert answer.message.startswith("Target environment attestation statement cannot be verified.")


async def test_only_exportable_keys_are_released(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)
    await raw("POST", "/keys/stays/create", {"kty": "RSA"})

    assert (await raw("POST", "/keys/stays/release", {"target": attestation()})).status == 403


async def test_policies_and_exportable_go_together(raw_of: MakeRaw, either: TestVault) -> None:
    raw = await raw_of(either)

    alone = await raw("POST", "/keys/x/create", {"kty": "RSA-HSM", "attributes": {"exportable": True}})
    without = await raw("POST", "/keys/x/create", {"kty": "RSA-HSM", "release_policy": policy()})

    if either.is_hsm:
        assert alone.message.startswith("Exportable keys must have release policy (Activity ID: ")
    else:
        assert alone.message == "AKV.SKR.1004: Exportable keys must have release policy."
        assert without.message == "AKV.SKR.1005: Non-exportable keys must not have release policy."
    assert (alone.status, without.status) == (400, 400)


async def test_an_immutable_policy_stays(raw_of: MakeRaw, client_of: ClientOf, vault: TestVault) -> None:
    raw = await raw_of(vault)
    await exportable(raw, "fixed", immutable=True)
    await exportable(raw, "loose")
    other = KeyReleasePolicy(json.dumps(POLICY | {"version": "2"}).encode())

    with pytest.raises(HttpResponseError, match=r"AKV\.SKR\.1020: Immutable Key Release Policy cannot be modified\."):
        await client_of(vault).update_key_properties("fixed", release_policy=other)
    changed = await client_of(vault).update_key_properties("loose", release_policy=other)

    policy_now = changed.properties.release_policy
    assert policy_now is not None
    assert json.loads(policy_now.encoded_policy)["version"] == "2"
    assert "release_policy" in (await raw("GET", "/keys/fixed")).json
    assert "release_policy" not in (await raw("DELETE", "/keys/fixed")).json


async def test_attestation_is_signed_by_the_certificate_that_comes_with_it(client_of: ClientOf, hsm: TestVault) -> None:
    client = client_of(hsm)
    made = await client.create_ec_key("attested")

    for version in (None, made.properties.version):
        found = (await client.get_key_attestation("attested", version)).properties.attestation
        assert found is not None
        assert found.version == "MRVL-1"
        public = x509.load_pem_x509_certificate(found.certificate_pem_file).public_key()
        assert isinstance(public, rsa.RSAPublicKey)
        for statement in (found.private_key_attestation, found.public_key_attestation):
            message, _, signature = statement.partition(b"\0")
            public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
