"""Keys that other tools made: `openssl` makes, writes, wraps and unwraps them, `cryptography` proves that one is held.

A kind of key is a word for people, such as `RSA 2048` or `EC P-256`; `asked` is what the API calls it.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

from azure.keyvault.keys import JsonWebKey, KeyVaultKey
from azure.keyvault.keys.aio import KeyClient
from azure.keyvault.keys.crypto import EncryptionAlgorithm, SignatureAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from tests.integration.client import Json
from tests.integration.ledger import Ledger
from tests.material.keys import OPENSSL_CURVES, openssl, openssl_with

RSA = ("RSA 2048", "RSA 3072", "RSA 4096")
EC = ("EC P-256", "EC P-384", "EC P-521", "EC P-256K")
AES = ("AES 128", "AES 192", "AES 256")
PASSPHRASE = "of a key that is under a passphrase"

_SIGNING: Mapping[str, tuple[SignatureAlgorithm, type[HashAlgorithm]]] = {
    "RSA": (SignatureAlgorithm.rs256, SHA256),
    "P-256": (SignatureAlgorithm.es256, SHA256),
    "P-384": (SignatureAlgorithm.es384, SHA384),
    "P-521": (SignatureAlgorithm.es512, SHA512),
    "P-256K": (SignatureAlgorithm.es256_k, SHA256),
}
_ENCRYPTING = {
    128: EncryptionAlgorithm.a128_gcm,
    192: EncryptionAlgorithm.a192_gcm,
    256: EncryptionAlgorithm.a256_gcm,
}


@dataclass(frozen=True)
class Key:
    """A key: PKCS#8 in DER, or the octets of an AES key."""

    kind: str
    content: bytes

    @property
    def family(self) -> str:
        return self.kind.split()[0]

    @cached_property
    def private(self) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
        key = load_der_private_key(self.content, None)
        assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
        return key

    @property
    def public_pem(self) -> str:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def asked(kind: str) -> Json:
    """Return what the API calls a kind of key."""
    family, which = kind.split()
    return {"type": family, "curve": which} if family == "EC" else {"type": family, "size": int(which)}


def named(kind: str) -> str:
    """Return the kind as a name that Azure takes."""
    return kind.replace(" ", "-").lower()


def a_key(ledger: Ledger, kind: str, number: int = 0) -> Key:
    """Return a key of a kind, the same in the whole run for the same number, written down in the ledger."""
    key = _made(kind, number)
    if key.family == "AES":
        ledger.add_bytes(kind, key.content)
    else:
        ledger.add_private_key(kind, key.private)
    return key


@cache
def _made(kind: str, number: int) -> Key:
    family, which = kind.split()
    if family == "AES":
        # The first octet keeps it from being taken for a text.
        return Key(kind, b"\x80" + secrets.token_bytes(int(which) // 8 - 1))
    option = f"rsa_keygen_bits:{which}" if family == "RSA" else f"ec_paramgen_curve:{OPENSSL_CURVES[which]}"
    return Key(kind, read(openssl("genpkey", "-algorithm", family, "-pkeyopt", option).decode()))


def read(text: str, *options: str) -> bytes:
    """Return a private key in PEM as PKCS#8 in DER."""
    return openssl("pkcs8", "-topk8", "-nocrypt", "-outform", "DER", *options, stdin=text.encode())


def pem(key: Key, *options: str) -> str:
    """Return the key as `openssl pkey` writes it: PKCS#8, or with `-traditional` PKCS#1 or SEC 1."""
    return openssl("pkey", "-inform", "DER", *options, stdin=key.content).decode()


def der(key: Key, *options: str) -> bytes:
    """Return the key in DER, as `pem` does in PEM."""
    return openssl("pkey", "-inform", "DER", "-outform", "DER", *options, stdin=key.content)


def encrypted_pem(key: Key) -> str:
    """Return the key as PKCS#8 under PASSPHRASE."""
    cipher = ("-topk8", "-inform", "DER", "-v2", "aes-256-cbc", "-passout", f"pass:{PASSPHRASE}")
    return openssl("pkcs8", *cipher, stdin=key.content).decode()


def base64_of(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def base64url_of(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def jwk_of(key: Key) -> JsonWebKey:
    """Return an RSA key for the SDK's import."""
    assert isinstance(key.private, rsa.RSAPrivateKey)
    numbers = key.private.private_numbers()
    members = {"n": numbers.public_numbers.n, "e": numbers.public_numbers.e, "d": numbers.d, "p": numbers.p}
    members |= {"q": numbers.q, "dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp}
    return JsonWebKey(kty="RSA", **{name: n.to_bytes((n.bit_length() + 7) // 8) for name, n in members.items()})


#: The ways to write an RSA or EC key in a request: its member `material`.
FORMS: Mapping[str, Callable[[Key], Json]] = {
    "PKCS#8 in PEM": lambda key: {"value": pem(key)},
    "PKCS#1 or SEC 1 in PEM": lambda key: {"value": pem(key, "-traditional"), "encoding": "pem"},
    "PKCS#8 in base64": lambda key: {"value": base64_of(key.content), "encoding": "base64"},
    "PKCS#1 or SEC 1 in base64": lambda key: {"value": base64_of(der(key, "-traditional"))},
    "PKCS#8 in base64url": lambda key: {"value": base64url_of(key.content)},
    "PKCS#8 in hex": lambda key: {"value": key.content.hex(), "encoding": "hex"},
    "PEM under a passphrase": lambda key: {"value": encrypted_pem(key), "passphrase": PASSPHRASE},
}


def key_wrap(wrapping_key: bytes, content: bytes, *options: str) -> bytes:
    """Return AES key wrap with padding (RFC 5649) of `content`; with `-d`, what is wrapped in it."""
    cipher = f"-id-aes{8 * len(wrapping_key)}-wrap-pad"
    return openssl("enc", cipher, "-K", wrapping_key.hex(), "-iv", "A65959A6", *options, stdin=content)


def rsa_aes_key_wrap(public_pem: str, content: bytes, digest: str = "sha1") -> bytes:
    """Return CKM_RSA_AES_KEY_WRAP of `content`, with `digest` in OAEP and in its mask."""
    one_time_key, files = secrets.token_bytes(32), {"key": public_pem.encode()}
    encrypt = ("pkeyutl", "-encrypt", "-pubin", "-inkey", "{key}", *_oaep(digest))
    return openssl_with(files, *encrypt, stdin=one_time_key) + key_wrap(one_time_key, content)


def rsa_aes_unwrap(key: Key, wrapped: bytes, digest: str) -> bytes:
    """Return what CKM_RSA_AES_KEY_WRAP wrapped for `key`."""
    split = key.private.key_size // 8
    decrypt = ("pkeyutl", "-decrypt", "-inkey", "{key}", "-keyform", "DER", *_oaep(digest))
    one_time_key = openssl_with({"key": key.content}, *decrypt, stdin=wrapped[:split])
    return key_wrap(one_time_key, wrapped[split:], "-d")


def _oaep(digest: str) -> tuple[str, ...]:
    options = ("rsa_padding_mode:oaep", f"rsa_oaep_md:{digest}", f"rsa_mgf1_md:{digest}")
    return tuple(part for option in options for part in ("-pkeyopt", option))


def transfer_blob(exchange_key: KeyVaultKey, content: bytes, **changes: object) -> bytes:
    """Return a transfer blob (a `.byok` file) of `content` for a key exchange key, with some members changed."""
    blob = {
        "schema_version": "1.0.0",
        "header": {"kid": exchange_key.id, "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP"},
        "ciphertext": base64url_of(rsa_aes_key_wrap(public_pem_of(exchange_key), content)),
        "generator": "openssl",
    }
    return json.dumps({**blob, **changes}).encode()


def public_pem_of(key: KeyVaultKey) -> str:
    """Return the public half of an RSA key in a vault."""
    numbers = rsa.RSAPublicNumbers(int.from_bytes(key.key.e), int.from_bytes(key.key.n))
    return numbers.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


async def assert_held(owner: KeyClient, name: str, key: Key) -> None:
    """Check that the vault's key is this one: what it signs or encrypts there verifies or decrypts here."""
    client = owner.get_cryptography_client(name)
    if key.family == "AES":
        # Not `wrap_key`: the SDK does that by itself, with a random key where it has none.
        sealed = await client.encrypt(_ENCRYPTING[8 * len(key.content)], b"a contract")
        assert AESGCM(key.content).decrypt(sealed.iv, sealed.ciphertext + sealed.tag, None) == b"a contract"
        return
    algorithm, hash_ = _SIGNING["RSA" if key.family == "RSA" else key.kind.split()[1]]
    digest = hashlib.new(hash_.name, b"a contract").digest()
    signature = (await client.sign(algorithm, digest)).signature
    public = key.private.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, digest, PKCS1v15(), Prehashed(hash_()))
        return
    half = len(signature) // 2
    r, s = int.from_bytes(signature[:half]), int.from_bytes(signature[half:])
    public.verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(hash_())))
