"""Keys that somebody makes outside of Keysteward, and what proves that the key in a vault is the same one.

With `cryptography` alone, as the OpenSSL command line does it: see docs/byok.md.
"""

import base64
import hashlib
import json
import secrets

from azure.keyvault.keys.aio import KeyClient
from azure.keyvault.keys.crypto import EncryptionAlgorithm, SignatureAlgorithm
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from local.demo.expect import UnexpectedError

type PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_OAEP = OAEP(MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - Azure's HSMs ask for SHA-1
_COORDINATE = 32


def public_pem(key: PrivateKey) -> str:
    """Return the public half, as Keysteward shows it, too."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key: PrivateKey) -> bytes:
    """Return a key file as `openssl genpkey` writes it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def pkcs8(key: PrivateKey) -> bytes:
    """Return what Azure's specification wants in a transfer blob."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def sec1(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return what `openssl ec -outform DER` writes: the same key, in a form that an HSM does not take."""
    return key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def transfer_blob(kid: str, key_exchange_key: str, target_key: bytes) -> bytes:
    """Return a file by Azure's specification; `key_exchange_key` is the public key as PEM."""
    public = load_pem_public_key(key_exchange_key.encode())
    if not isinstance(public, rsa.RSAPublicKey):
        raise UnexpectedError("the key exchange key is no RSA key")
    one_time_key = secrets.token_bytes(32)
    ciphertext = public.encrypt(one_time_key, _OAEP) + aes_key_wrap_with_padding(one_time_key, target_key)
    blob = {
        "schema_version": "1.0.0",
        "header": {"kid": kid, "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP"},
        "ciphertext": base64.urlsafe_b64encode(ciphertext).decode().rstrip("="),
        "generator": "somebody else",
    }
    return json.dumps(blob).encode()


async def prove_signing(vault: KeyClient, name: str, key: PrivateKey) -> None:
    """Have the vault sign, and verify here with our own key; UnexpectedError if it does not verify."""
    message = secrets.token_bytes(64)
    algorithm = SignatureAlgorithm.rs256 if isinstance(key, rsa.RSAPrivateKey) else SignatureAlgorithm.es256
    signed = await vault.get_cryptography_client(name).sign(algorithm, hashlib.sha256(message).digest())
    try:
        _verify(key, signed.signature, message)
    except InvalidSignature:
        raise UnexpectedError(f"what the vault signs with {name} does not verify with the key that was sent") from None


async def prove_encryption(vault: KeyClient, name: str, octets: bytes) -> None:
    """Have the HSM encrypt, and decrypt here with our own octets; UnexpectedError if that fails.

    Not by wrapping: version 4.11.3 of the SDK wraps with symmetric keys of an HSM by itself, under a random key.
    """
    message = secrets.token_bytes(64)
    client = vault.get_cryptography_client(name)
    found = await client.encrypt(EncryptionAlgorithm.a256_gcm, message)
    iv, tag = found.iv or b"", found.tag or b""
    try:
        opened = AESGCM(octets).decrypt(iv, found.ciphertext + tag, None)
    except (InvalidTag, ValueError):
        opened = b""
    if opened != message:
        raise UnexpectedError(f"what the HSM encrypts with {name} does not decrypt with the octets that were sent")


def _verify(key: PrivateKey, signature: bytes, message: bytes) -> None:
    if isinstance(key, rsa.RSAPrivateKey):
        key.public_key().verify(signature, message, PKCS1v15(), hashes.SHA256())
        return
    r, s = (int.from_bytes(half) for half in (signature[:_COORDINATE], signature[_COORDINATE:]))
    key.public_key().verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
