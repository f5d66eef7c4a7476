"""Key transfer blobs for Azure's HSMs: material wrapped so that only the HSM behind a key exchange key can read it.

Invariants: the plaintext is the canonical content, which is what the specification asks for (PKCS#8 in DER, or the
octets of an AES key); a blob is made for nothing but a key exchange key that can only import, for whoever may decrypt
with any other key would have the material; the one-time key wraps once.

Source: Microsoft, 'Bring your own key specification': RSA-OAEP with SHA-1 and MGF1 with SHA-1 of a one-time AES-256
key, followed by AES key wrap with padding (RFC 5649). SHA-1 is the HSMs' choice; OAEP does not need it to be free of
collisions.
"""

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from core.domain.key_kinds import IMPORT_ONLY, RSA_SIZES
from core.domain.transfer_blobs import KEY_EXCHANGE_KEY_TYPE, KeyExchangeKey, written
from core.errors import ConflictError
from core.material.material import KeyMaterial
from core.material.wrapping import OaepHash, rsa_aes_key_wrap


def make_transfer_blob(key_exchange_key: KeyExchangeKey, target_key: KeyMaterial) -> bytes:
    """Return the file that imports `target_key` into the HSM of the key exchange key.

    Raises ConflictError `key_exchange_key_unsuitable`.
    """
    ciphertext = rsa_aes_key_wrap(_public_key(key_exchange_key), target_key.canonical(), OaepHash.SHA1)
    return written(key_exchange_key.kid, ciphertext)


def _public_key(key: KeyExchangeKey) -> RSAPublicKey:
    n, e = int.from_bytes(key.n), int.from_bytes(key.e)
    imports_only = key.type == KEY_EXCHANGE_KEY_TYPE and key.operations == IMPORT_ONLY
    is_size = n.bit_length() in RSA_SIZES and n.bit_length() == key.size
    if not imports_only or not is_size or n % 2 == 0:
        raise _unsuitable()
    try:
        return RSAPublicNumbers(e, n).public_key()
    except ValueError:
        raise _unsuitable() from None


def _unsuitable() -> ConflictError:
    return ConflictError(
        "This is no key exchange key: it must be of type RSA-HSM with 2048, 3072 or 4096 bits, for import only.",
        code="key_exchange_key_unsuitable",
    )
