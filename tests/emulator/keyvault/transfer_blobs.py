"""Transfer blobs made by the words of the published format, not by the emulator's code."""

import json
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from .clients import RawClient, from_url64, url64

ONE_TIME_KEY = bytes(range(32))


def pkcs8(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_key(bundle: dict[str, Any]) -> rsa.RSAPublicKey:
    n, e = (int.from_bytes(from_url64(bundle["key"][name]), "big") for name in "ne")
    return rsa.RSAPublicNumbers(e, n).public_key()


def ciphertext(
    exchange: rsa.RSAPublicKey,
    plaintext: bytes,
    *,
    digest: hashes.HashAlgorithm | None = None,
    one_time_key: bytes = ONE_TIME_KEY,
) -> bytes:
    algorithm = digest or hashes.SHA1()  # noqa: S303 - the format prescribes it
    wrapped_key = exchange.encrypt(one_time_key, padding.OAEP(padding.MGF1(algorithm), algorithm, None))
    return wrapped_key + aes_key_wrap_with_padding(one_time_key, plaintext)


def blob(kid: str, sealed: bytes) -> dict[str, Any]:
    header = {"kid": kid, "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP"}
    return {"schema_version": "1.0.0", "header": header, "ciphertext": url64(sealed), "generator": "test"}


async def exchange_key(raw: RawClient, name: str, size: int = 2048, **members: object) -> dict[str, Any]:
    body = {"kty": "RSA-HSM", "key_size": size, "key_ops": ["import"]} | members
    answer = await raw("POST", f"/keys/{name}/create", body)
    assert answer.status == 200
    return dict(answer.json)


def body(content: object, kty: str = "RSA-HSM", **members: object) -> dict[str, Any]:
    text = json.dumps(content) if isinstance(content, dict) else str(content)
    return {"key": {"kty": kty, "key_hsm": url64(text.encode())} | members}
