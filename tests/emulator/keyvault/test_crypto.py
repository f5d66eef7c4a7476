"""Every algorithm of the SDK through its CryptographyClient, and who may use a key for what when."""

import hashlib
import hmac
import time

import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys.crypto import EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from local.emulator.client import ControlClient

from .clients import ClientOf, MakeRaw, SyncClientOf, TestVault, from_url64, url64
from .transfer_blobs import blob, body, ciphertext, exchange_key, public_key

SECRET = b"sixteen octets.."
CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "ES256K": "P-256K"}
RSA_SIGNATURES = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]


def digest_of(algorithm: str) -> bytes:
    return hashlib.new(f"sha{algorithm[2:5]}", b"message").digest()


@pytest.mark.parametrize("algorithm", ["RSA1_5", "RSA-OAEP", "RSA-OAEP-256"])
async def test_rsa_encryption(client_of: ClientOf, either: TestVault, algorithm: str) -> None:
    client = client_of(either)
    await client.create_rsa_key(f"enc-{algorithm.replace('_', '-')}")
    crypto = client.get_cryptography_client(f"enc-{algorithm.replace('_', '-')}")

    encrypted = await crypto.encrypt(EncryptionAlgorithm(algorithm), SECRET)
    wrapped = await crypto.wrap_key(KeyWrapAlgorithm(algorithm), SECRET)

    assert (await crypto.decrypt(EncryptionAlgorithm(algorithm), encrypted.ciphertext)).plaintext == SECRET
    assert (await crypto.unwrap_key(KeyWrapAlgorithm(algorithm), wrapped.encrypted_key)).key == SECRET


async def test_the_service_encrypts_what_the_public_key_would(raw_of: MakeRaw, either: TestVault) -> None:
    raw = await raw_of(either)
    await raw("POST", "/keys/server-side/create", {"kty": "RSA"})

    encrypted = (await raw("POST", "/keys/server-side//encrypt", {"alg": "RSA-OAEP", "value": "c2VjcmV0"})).json
    body = {"alg": "RSA-OAEP", "value": encrypted["value"]}
    decrypted = (await raw("POST", f"{encrypted['kid'].removeprefix(either.url)}/decrypt", body)).json

    members = {"kid": encrypted["kid"], "value": "c2VjcmV0"}
    assert decrypted == (members | {"alg": "RSA-OAEP"} if either.is_hsm else members)


@pytest.mark.parametrize("algorithm", RSA_SIGNATURES)
async def test_rsa_signatures(client_of: ClientOf, either: TestVault, algorithm: str) -> None:
    client = client_of(either)
    key = await client.create_rsa_key(f"sig-{algorithm}")
    crypto = client.get_cryptography_client(f"sig-{algorithm}")
    digest = digest_of(algorithm)

    signed = await crypto.sign(SignatureAlgorithm(algorithm), digest)

    numbers = rsa.RSAPublicNumbers(int.from_bytes(key.key.e, "big"), int.from_bytes(key.key.n, "big"))
    scheme = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[algorithm[2:]]
    pss = padding.PSS(padding.MGF1(scheme), scheme.digest_size)
    rsa_padding = padding.PKCS1v15() if algorithm.startswith("RS") else pss
    numbers.public_key().verify(signed.signature, digest, rsa_padding, utils.Prehashed(scheme))
    assert (await crypto.verify(SignatureAlgorithm(algorithm), digest, signed.signature)).is_valid


@pytest.mark.parametrize("algorithm", CURVES)
async def test_ec_signatures(client_of: ClientOf, raw_of: MakeRaw, either: TestVault, algorithm: str) -> None:
    client = client_of(either)
    await client.create_ec_key(f"sig-{algorithm}", curve=CURVES[algorithm])
    crypto = client.get_cryptography_client(f"sig-{algorithm}")
    digest = digest_of(algorithm)

    signed = await crypto.sign(SignatureAlgorithm(algorithm), digest)

    assert len(signed.signature) == 2 * ((int(CURVES[algorithm][2:5]) + 7) // 8)
    assert (await crypto.verify(SignatureAlgorithm(algorithm), digest, signed.signature)).is_valid
    raw = await raw_of(either)
    for signature in (signed.signature[:-1] + bytes([signed.signature[-1] ^ 1]), signed.signature[:-1], b"", bytes(64)):
        body = {"alg": algorithm, "digest": url64(digest), "value": url64(signature)}
        assert (await raw("POST", f"/keys/sig-{algorithm}//verify", body)).json == {"value": False}


@pytest.mark.parametrize("size", [128, 192, 256])
async def test_aes(client_of: ClientOf, hsm: TestVault, size: int) -> None:
    client = client_of(hsm)
    await client.create_oct_key(f"aes-{size}", size=size, hardware_protected=True)
    crypto = client.get_cryptography_client(f"aes-{size}")

    gcm = await crypto.encrypt(EncryptionAlgorithm(f"A{size}GCM"), b"odd length", additional_authenticated_data=b"aad")
    opened = await crypto.decrypt(
        EncryptionAlgorithm(f"A{size}GCM"),
        gcm.ciphertext,
        iv=gcm.iv,
        authentication_tag=gcm.tag,
        additional_authenticated_data=b"aad",
    )
    assert opened.plaintext == b"odd length"
    for algorithm, text in ((f"A{size}CBC", SECRET), (f"A{size}CBCPAD", b"odd length")):
        cbc = await crypto.encrypt(EncryptionAlgorithm(algorithm), text, iv=bytes(16))
        assert (await crypto.decrypt(EncryptionAlgorithm(algorithm), cbc.ciphertext, iv=bytes(16))).plaintext == text
    wraps = {f"A{size}KW": SECRET, "CKM_AES_KEY_WRAP": SECRET, "CKM_AES_KEY_WRAP_PAD": b"odd length"}
    for algorithm, secret in wraps.items():
        wrapped = await crypto.wrap_key(KeyWrapAlgorithm(algorithm), secret)
        assert (await crypto.unwrap_key(KeyWrapAlgorithm(algorithm), wrapped.encrypted_key)).key == secret
    with pytest.raises(HttpResponseError, match="tag does not match"):
        await crypto.decrypt(
            EncryptionAlgorithm(f"A{size}GCM"), gcm.ciphertext, iv=gcm.iv, authentication_tag=bytes(16)
        )


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_hmac(client_of: ClientOf, hsm: TestVault, algorithm: str) -> None:
    client = client_of(hsm)
    await client.create_oct_key("mac", size=256, hardware_protected=True)
    crypto = client.get_cryptography_client("mac")

    signed = await crypto.sign(SignatureAlgorithm(algorithm), digest_of(algorithm))

    assert (await crypto.verify(SignatureAlgorithm(algorithm), digest_of(algorithm), signed.signature)).is_valid
    assert not (await crypto.verify(SignatureAlgorithm(algorithm), b"other" * 6, signed.signature)).is_valid


def test_the_synchronous_client_signs_and_wraps(sync_client_of: SyncClientOf, standard: TestVault) -> None:
    with sync_client_of(standard) as client:
        client.create_rsa_key("sync-crypto")
        crypto = client.get_cryptography_client("sync-crypto")

        signed = crypto.sign(SignatureAlgorithm.ps384, digest_of("PS384"))
        wrapped = crypto.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, SECRET)

        assert crypto.verify(SignatureAlgorithm.ps384, digest_of("PS384"), signed.signature).is_valid
        assert crypto.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key).key == SECRET


@pytest.mark.parametrize(
    ("kty", "operation", "members"),
    [
        ("RSA", "sign", {"alg": "RS256", "value": "c2hvcnQ"}),
        ("RSA", "sign", {"alg": "ES256", "value": url64(bytes(32))}),
        ("RSA", "sign", {"alg": "none", "value": url64(bytes(32))}),
        ("RSA", "sign", {"value": url64(bytes(32))}),
        ("RSA", "sign", {"alg": "RS256"}),
        ("RSA", "sign", {"alg": "RS256", "value": "!"}),
        ("RSA", "encrypt", {"alg": "RSA-OAEP", "value": url64(bytes(300))}),
        ("RSA", "decrypt", {"alg": "RSA-OAEP", "value": url64(bytes(256))}),
        ("RSA", "decrypt", {"alg": "A128GCM", "value": "AA"}),
        ("EC", "sign", {"alg": "ES384", "value": url64(bytes(48))}),
        ("EC", "sign", {"alg": "RS256", "value": url64(bytes(32))}),
        ("EC", "verify", {"alg": "ES256", "digest": "AA", "value": "AA"}),
        ("oct-HSM", "encrypt", {"alg": "A256CBC", "value": "AA"}),
        ("oct-HSM", "encrypt", {"alg": "A128GCM", "value": "AA"}),
        ("oct-HSM", "encrypt", {"alg": "A256GCM", "value": "AA", "iv": "AA"}),
        ("oct-HSM", "decrypt", {"alg": "A256GCM", "value": "AA"}),
        ("oct-HSM", "decrypt", {"alg": "A256CBCPAD", "value": url64(bytes(16)), "iv": url64(bytes(16))}),
        ("oct-HSM", "wrapkey", {"alg": "A256KW", "value": "AA"}),
        ("oct-HSM", "unwrapkey", {"alg": "A256KW", "value": url64(bytes(24))}),
        ("oct-HSM", "unwrapkey", {"alg": "CKM_AES_KEY_WRAP_PAD", "value": url64(bytes(24))}),
    ],
)
async def test_bad_input_is_refused(
    raw_of: MakeRaw, hsm: TestVault, kty: str, operation: str, members: dict[str, str]
) -> None:
    raw = await raw_of(hsm)
    await raw("POST", f"/keys/bad-input-{kty}/create", {"kty": kty})

    answer = await raw("POST", f"/keys/bad-input-{kty}//{operation}", members)

    assert answer.error == (400, "BadParameter", None)


OPERATIONS = ("encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey")


async def refusals(raw_of: MakeRaw, vault: TestVault, name: str) -> dict[str, str]:
    """Try every operation of an RSA key and return the inner codes of those that are forbidden."""
    raw = await raw_of(vault)
    found = {}
    for operation in OPERATIONS:
        signing = operation in ("sign", "verify")
        members = {"alg": "RS256" if signing else "RSA-OAEP", "value": url64(bytes(32)), "digest": url64(bytes(32))}
        answer = await raw("POST", f"/keys/{name}//{operation.lower()}", members)
        if answer.status == 403:
            found[operation] = str(answer.error[2])
            assert answer.message.startswith(f"Operation {operation} is not ")
    return found


async def test_a_disabled_key_may_encrypt_wrap_and_verify(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)
    await raw("POST", "/keys/use-off/create", {"kty": "RSA", "attributes": {"enabled": False}})

    assert await refusals(raw_of, vault, "use-off") == dict.fromkeys(("decrypt", "sign", "unwrapKey"), "KeyDisabled")


async def test_dates_bound_encryption_and_signing(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)
    now = int(time.time())
    for name, attributes in (("use-early", {"nbf": now + 1000}), ("use-late", {"exp": now - 1000})):
        await raw("POST", f"/keys/{name}/create", {"kty": "RSA", "attributes": attributes})
    refused = ("encrypt", "sign", "wrapKey")

    assert await refusals(raw_of, vault, "use-early") == dict.fromkeys(refused, "KeyNotYetValid")
    assert await refusals(raw_of, vault, "use-late") == dict.fromkeys(refused, "KeyExpired")


async def test_a_key_expires_by_the_clock(
    control: ControlClient, raw_of: MakeRaw, vault: TestVault, fresh_conditions: None
) -> None:
    raw = await raw_of(vault)
    await raw("POST", "/keys/use-hour/create", {"kty": "RSA", "attributes": {"exp": int(time.time()) + 3600}})

    before = await refusals(raw_of, vault, "use-hour")
    await control.put("clock", {"offset_seconds": 3700})

    assert (before, len(await refusals(raw_of, vault, "use-hour"))) == ({}, 3)


async def test_only_listed_operations_are_permitted(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)
    await raw("POST", "/keys/use-sign/create", {"kty": "RSA", "key_ops": ["sign"]})

    others = set(OPERATIONS) - {"sign"}
    assert await refusals(raw_of, vault, "use-sign") == dict.fromkeys(others, "KeyOperationForbidden")


async def test_deleted_keys_cannot_be_used(raw_of: MakeRaw, hsm: TestVault) -> None:
    raw = await raw_of(hsm)
    await raw("POST", "/keys/use-gone/create", {"kty": "EC"})
    await raw("DELETE", "/keys/use-gone")

    answer = await raw("POST", "/keys/use-gone//sign", {"alg": "ES256", "value": url64(bytes(32))})

    assert answer.error == (404, "KeyNotFound", None)


async def test_random_octets(client_of: ClientOf, raw_of: MakeRaw, hsm: TestVault, vault: TestVault) -> None:
    client, raw = client_of(hsm), await raw_of(hsm)

    assert [len(await client.get_random_bytes(count)) for count in (1, 128)] == [1, 128]
    assert await client.get_random_bytes(32) != await client.get_random_bytes(32)
    for count in (0, -1, 129, "8", None, True):
        answer = await raw("POST", "/rng", {"count": count})
        expected = "GetRandomBytesRequest: count cannot be greater than 128 or less than 1 (Activity ID: "
        assert (answer.error, answer.message.startswith(expected)) == ((400, "BadParameter", None), True)
    assert (await (await raw_of(vault))("POST", "/rng", {"count": 1})).status == 400


async def test_known_answers(raw_of: MakeRaw, hsm: TestVault) -> None:
    """What the service computed is what the algorithms say: checked with a key whose octets are known."""
    raw, octets = await raw_of(hsm), bytes(range(32))
    exchange = await exchange_key(raw, "kek-known")
    content = blob(exchange["key"]["kid"], ciphertext(public_key(exchange), octets))
    assert (await raw("PUT", "/keys/known-oct", body(content, "oct-HSM"))).status == 200

    request = {"alg": "A256GCM", "value": url64(SECRET), "aad": "AA"}
    sealed = (await raw("POST", "/keys/known-oct//encrypt", request)).json
    mac = (await raw("POST", "/keys/known-oct//sign", {"alg": "HS256", "value": url64(SECRET)})).json

    parts = {name: from_url64(sealed[name]) for name in ("iv", "value", "tag", "aad")}
    assert AESGCM(octets).decrypt(parts["iv"], parts["value"] + parts["tag"], parts["aad"]) == SECRET
    assert from_url64(mac["value"]) == hmac.digest(octets, SECRET, "sha256")
