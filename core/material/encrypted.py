"""Private keys under a passphrase: opened, and written.

Opened are PKCS#8 with PBES2 (PBKDF2 or scrypt; AES or triple DES in CBC mode), PKCS#8 with PBES1's SHA-1 and triple
DES, and OpenSSL's traditional PEM encryption. Written is PBES2 with PBKDF2-HMAC-SHA-256 and AES-256-CBC only.

Invariants:
- The work is bounded before any of it is done: a hostile file can ask for 2^64 iterations.
- None of these schemes is authenticated, so a wrong passphrase and a damaged file look the same and are told apart in
  nothing: padding and form of what comes out decide together.

Sources: RFC 8018 (PBES1, PBES2, PBKDF2), RFC 7914, 7 (scrypt in PBES2), RFC 7292 (pbeWithSHAAnd3-KeyTripleDES-CBC),
OpenSSL's EVP_BytesToKey(3) and PEM_read_bio_PrivateKey(3) (traditional); OWASP Password Storage Cheat Sheet
(600,000 iterations; cryptography's BestAvailableEncryption has 2,048).
"""

import os
from collections.abc import Callable
from types import MappingProxyType

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

from core.domain.secrets import SecretText
from core.material import refusals
from core.material.der import (
    INTEGER,
    NULL,
    OCTET_STRING,
    SEQUENCE,
    Element,
    MalformedDerError,
    is_sequence,
    read,
    write,
    write_integer,
    write_oid,
)
from core.material.old_derivations import Purpose, openssl_octets, pkcs12_octets
from core.material.pem import PemKey

MAX_ITERATIONS, MAX_OLD_ITERATIONS = 5_000_000, 500_000
#: scrypt's memory in blocks of 128 octets, and its time in the same blocks.
MAX_SCRYPT_BLOCKS, MAX_SCRYPT_WORK = 2**20, 2**22
WRITTEN_ITERATIONS = 600_000

type _Algorithm = tuple[str, tuple[Element, ...]]
type _Derive = Callable[[bytes, int], bytes]

# Object identifiers, as they stand in DER.
_PBES2, _PBKDF2, _SCRYPT = "2a864886f70d01050d", "2a864886f70d01050c", "2b06010401da47040b"
_PBES1_SHA1_3DES = "2a864886f70d010c0103"
_HMAC_SHA1, _HMAC_SHA256, _AES_256 = "2a864886f70d0207", "2a864886f70d0209", "60864801650304012a"
_HASHES = MappingProxyType[str, Callable[[], hashes.HashAlgorithm]](
    {
        _HMAC_SHA1: hashes.SHA1,
        "2a864886f70d0208": hashes.SHA224,
        _HMAC_SHA256: hashes.SHA256,
        "2a864886f70d020a": hashes.SHA384,
        "2a864886f70d020b": hashes.SHA512,
    }
)
_CIPHERS = MappingProxyType[str, tuple[type[AES | TripleDES], int]](
    {
        "608648016503040102": (AES, 16),
        "608648016503040116": (AES, 24),
        _AES_256: (AES, 32),
        "2a864886f70d0307": (TripleDES, 24),
    }
)
_TRADITIONAL = MappingProxyType[str, tuple[type[AES | TripleDES], int]](
    {
        "AES-128-CBC": (AES, 16),
        "AES-192-CBC": (AES, 24),
        "AES-256-CBC": (AES, 32),
        "DES-EDE3-CBC": (TripleDES, 24),
    }
)
_TRADITIONAL_SALT_OCTETS = 8
_OTHER_METHOD = "a key encrypted by another method than PBES2 with AES"


def opened_pkcs8(octets: bytes, passphrase: SecretText) -> bytes:
    """Decrypt an EncryptedPrivateKeyInfo.

    Raises InvalidRequestError `material_passphrase_wrong`, `material_passphrase_too_costly`, `material_corrupt`,
    `material_format_unsupported`.
    """
    password = _password(passphrase)
    try:
        algorithm, encrypted = read(octets).children()
        identifier, parameters = _algorithm(algorithm)
        if identifier == _PBES2:
            return _opened_pbes2(parameters, encrypted.octets(), password)
        if identifier == _PBES1_SHA1_3DES:
            return _opened_pbes1(parameters, encrypted.octets(), passphrase)
    except (MalformedDerError, ValueError):
        raise refusals.corrupt("The parameters of this key's encryption are damaged.") from None
    raise refusals.format_unsupported(_OTHER_METHOD)


def opened_traditional(key: PemKey, passphrase: SecretText) -> bytes:
    """Decrypt a PEM block with `Proc-Type: 4,ENCRYPTED`; errors as `opened_pkcs8`."""
    name, _, iv_text = key.headers.get("DEK-Info", "").partition(",")
    known = _TRADITIONAL.get(name.strip().upper())
    if known is None:
        raise refusals.format_unsupported(_OTHER_METHOD)
    cipher, key_octets = known
    try:
        iv = bytes.fromhex(iv_text)
    except ValueError:
        iv = b""
    if 8 * len(iv) != cipher.block_size:
        raise refusals.corrupt("The parameters of this key's encryption are damaged.")
    derived = openssl_octets(_password(passphrase), iv[:_TRADITIONAL_SALT_OCTETS], key_octets)
    return _decrypted(cipher(derived), iv, key.octets)


def encrypted_pkcs8(octets: bytes, password: bytes) -> bytes:
    """Encrypt a PrivateKeyInfo."""
    salt, iv = os.urandom(16), os.urandom(16)
    key = PBKDF2HMAC(hashes.SHA256(), 32, salt, WRITTEN_ITERATIONS).derive(password)
    padder, encryptor = PKCS7(AES.block_size).padder(), Cipher(AES(key), CBC(iv)).encryptor()
    encrypted = encryptor.update(padder.update(octets) + padder.finalize()) + encryptor.finalize()
    prf = write(SEQUENCE, write_oid(_HMAC_SHA256), write(NULL))
    parameters = write(SEQUENCE, write(OCTET_STRING, salt), write_integer(WRITTEN_ITERATIONS), prf)
    derivation = write(SEQUENCE, write_oid(_PBKDF2), parameters)
    scheme = write(SEQUENCE, write_oid(_AES_256), write(OCTET_STRING, iv))
    algorithm = write(SEQUENCE, write_oid(_PBES2), write(SEQUENCE, derivation, scheme))
    return write(SEQUENCE, algorithm, write(OCTET_STRING, encrypted))


def _password(passphrase: SecretText) -> bytes:
    try:
        return passphrase.reveal().encode()
    except UnicodeEncodeError:
        raise refusals.passphrase_wrong() from None


def _algorithm(element: Element) -> _Algorithm:
    identifier, *parameters = element.children()
    return identifier.oid(), tuple(parameters)


def _opened_pbes2(parameters: tuple[Element, ...], encrypted: bytes, password: bytes) -> bytes:
    (parameter,) = parameters
    derivation, scheme = map(_algorithm, parameter.children())
    known = _CIPHERS.get(scheme[0])
    derive = _derivation(derivation)
    if known is None or derive is None:
        raise refusals.format_unsupported(_OTHER_METHOD)
    cipher, key_octets = known
    (iv,) = (element.octets() for element in scheme[1])
    if 8 * len(iv) != cipher.block_size:
        raise MalformedDerError
    return _decrypted(cipher(derive(password, key_octets)), iv, encrypted)


def _derivation(algorithm: _Algorithm) -> _Derive | None:
    identifier, (parameters,) = algorithm
    if identifier == _PBKDF2:
        return _pbkdf2(parameters.children())
    if identifier == _SCRYPT:
        return _scrypt(parameters.children())
    return None


def _pbkdf2(parameters: tuple[Element, ...]) -> _Derive | None:
    salt, iterations, *rest = parameters
    count, stated = iterations.integer(), None
    if rest and rest[0].tag == INTEGER:
        stated = rest.pop(0).integer()
    prf = _algorithm(rest.pop(0))[0] if rest else _HMAC_SHA1
    if rest or count < 1:
        raise MalformedDerError
    if count > MAX_ITERATIONS:
        raise refusals.passphrase_too_costly()
    algorithm = _HASHES.get(prf)
    if algorithm is None:
        return None
    salt_octets = salt.octets()
    return lambda password, octets: PBKDF2HMAC(algorithm(), _agreed(stated, octets), salt_octets, count).derive(
        password
    )


def _scrypt(parameters: tuple[Element, ...]) -> _Derive:
    salt, *numbers = parameters
    cost, block_size, parallelism, *rest = (number.integer() for number in numbers)
    if len(rest) > 1 or min(cost, block_size, parallelism) < 1:
        raise MalformedDerError
    blocks, work = (cost + parallelism) * block_size, cost * parallelism * block_size
    if blocks > MAX_SCRYPT_BLOCKS or work > MAX_SCRYPT_WORK:
        raise refusals.passphrase_too_costly()
    stated, salt_octets = (rest[0] if rest else None), salt.octets()
    return lambda password, octets: Scrypt(salt_octets, _agreed(stated, octets), cost, block_size, parallelism).derive(
        password
    )


def _agreed(stated: int | None, needed: int) -> int:
    """The length of the derived key, which the parameters may state; it must be what the cipher needs."""
    if stated not in {None, needed}:
        raise MalformedDerError
    return needed


def _opened_pbes1(parameters: tuple[Element, ...], encrypted: bytes, passphrase: SecretText) -> bytes:
    (parameter,) = parameters
    salt, iterations = parameter.children()
    count, text = iterations.integer(), passphrase.reveal()
    if count < 1:
        raise MalformedDerError
    if count > MAX_OLD_ITERATIONS:
        raise refusals.passphrase_too_costly()
    key = pkcs12_octets(text, salt.octets(), count, Purpose.KEY, 24)
    iv = pkcs12_octets(text, salt.octets(), count, Purpose.IV, TripleDES.block_size // 8)
    return _decrypted(TripleDES(key), iv, encrypted)


def _decrypted(cipher: BlockCipherAlgorithm, iv: bytes, encrypted: bytes) -> bytes:
    decryptor, unpadder = Cipher(cipher, CBC(iv)).decryptor(), PKCS7(cipher.block_size).unpadder()
    try:
        padded = decryptor.update(encrypted) + decryptor.finalize()
        octets = unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise refusals.passphrase_wrong() from None
    if not is_sequence(octets):
        raise refusals.passphrase_wrong()
    return octets
