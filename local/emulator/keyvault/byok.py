"""Import by transfer blob (bring your own key), after the published specification of the format.

A blob holds target key material wrapped for a key exchange key of this very vault: RSA-OAEP (SHA-1, MGF1 with
SHA-1) of a one-time AES-256 key, followed by AES-KWP (RFC 5649) of the material under it. RSA and EC keys are
PKCS#8, symmetric ones raw. Everything that can be wrong has an answer of its own. The service's leniency is
kept: standard or URL-safe base64, padded or not, and a file whose JSON has single quotes.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding

from local.emulator.keyvault import bundles
from local.emulator.keyvault.calls import Call
from local.emulator.keyvault.encoding import from_base64url
from local.emulator.keyvault.errors import bad_parameter
from local.emulator.keyvault.kinds import is_hsm
from local.emulator.keyvault.material import Family, Material, MaterialError, from_octets, from_pkcs8
from local.emulator.keyvault.model import KeyVersion
from local.emulator.keyvault.names import fold
from local.emulator.keyvault.params import IMPORT_ONLY

_SCHEMA_VERSION = "1.0.0"
_ALGORITHM = "dir"
_ENCRYPTION = "CKM_RSA_AES_KEY_WRAP"
_ONE_TIME_KEY_OCTETS = 32
_SEMIBLOCK = 8
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - the format prescribes SHA-1


def material_from_transfer_blob(call: Call, web_key: Mapping[str, Any], kty: str, family: Family) -> Material:
    """Return the target key of `web_key["key_hsm"]`, of the type and curve that the request names.

    Raises:
        KeyVaultError: `BadParameter`, with a message that names what is wrong.

    """
    if not kty.endswith("-HSM"):
        raise bad_parameter("A key transfer blob can be imported as a key that is protected by an HSM only.")
    if family == "oct" and not is_hsm(call.vault):
        raise bad_parameter("Import of a symmetric key by transfer blob is supported on a Managed HSM only.")
    blob = _parse(web_key["key_hsm"])
    key_exchange_key = _key_exchange_key(call, blob)
    plaintext = _unwrap(key_exchange_key, blob)
    taken = _material(plaintext, family)
    curve = web_key.get("crv")
    if family == "EC" and curve and curve != taken.curve:
        raise bad_parameter(f"The target key is on the curve {taken.curve}, not on {curve}.")
    return taken


def _parse(value: object) -> dict[str, Any]:
    try:
        text = _decode(value).decode()
    except ValueError as error:
        raise bad_parameter("The property key_hsm is not base64.") from error
    blob = _json_object(text)
    if blob is None:
        blob = _json_object(text.replace("'", '"'))
    if blob is None:
        raise bad_parameter("The key transfer blob is not a JSON object.")
    header = blob.get("header")
    if blob.get("schema_version") != _SCHEMA_VERSION:
        raise bad_parameter("The schema version of the key transfer blob is not supported.")
    if not isinstance(header, dict):
        raise bad_parameter("The key transfer blob has no header.")
    if header.get("alg") != _ALGORITHM:
        raise bad_parameter("The algorithm of the key transfer blob is not supported.")
    if header.get("enc") != _ENCRYPTION:
        raise bad_parameter("The encryption of the key transfer blob is not supported.")
    return blob


def _key_exchange_key(call: Call, blob: dict[str, Any]) -> KeyVersion:
    kid = blob["header"].get("kid")
    prefix = bundles.key_id(call.vault, "")
    if not isinstance(kid, str) or not kid:
        raise bad_parameter("The header of the key transfer blob has no kid.")
    if not kid.lower().startswith(prefix.lower()):
        raise bad_parameter("The key exchange key is in another vault.")
    name, _, version_id = kid[len(prefix) :].partition("/")
    key = call.store.keys.get(fold(name))
    version = key.versions.get(version_id.lower()) if key is not None and key.visible_at <= call.now else None
    if version is None:
        raise bad_parameter("The key exchange key was not found.")
    if version.kty != "RSA-HSM":
        raise bad_parameter("The key exchange key is not of type RSA-HSM.")
    if version.key_ops != IMPORT_ONLY:
        raise bad_parameter("The key exchange key does not have 'import' as its only key operation.")
    if not version.enabled:
        raise bad_parameter("The key exchange key is disabled.")
    if version.expires_on is not None and call.now >= version.expires_on:
        raise bad_parameter("The key exchange key has expired.")
    return version


def _unwrap(key_exchange_key: KeyVersion, blob: dict[str, Any]) -> bytes:
    ciphertext = blob.get("ciphertext")
    try:
        octets = _decode(ciphertext)
    except ValueError as error:
        raise bad_parameter("The ciphertext of the key transfer blob is not base64url.") from error
    split = key_exchange_key.material.size // 8
    wrapped = octets[split:]
    if len(wrapped) < 2 * _SEMIBLOCK or len(wrapped) % _SEMIBLOCK:
        raise bad_parameter("The ciphertext of the key transfer blob has the wrong length.")
    try:
        one_time_key = key_exchange_key.material.rsa_key.decrypt(octets[:split], _OAEP)
    except ValueError as error:
        raise bad_parameter("The one-time key cannot be decrypted with the key exchange key.") from error
    if len(one_time_key) != _ONE_TIME_KEY_OCTETS:
        raise bad_parameter("The one-time key does not have 256 bits.")
    try:
        return aes_key_unwrap_with_padding(one_time_key, wrapped)
    except (InvalidUnwrap, ValueError) as error:
        raise bad_parameter("The target key cannot be unwrapped with the one-time key.") from error


def _material(plaintext: bytes, family: Family) -> Material:
    try:
        taken = from_octets(plaintext) if family == "oct" else from_pkcs8(plaintext)
    except MaterialError as error:
        raise bad_parameter(f"The target key cannot be imported: {error}") from error
    if taken.family != family:
        raise bad_parameter(f"The target key is of type {taken.family}, not {family}.")
    return taken


def _decode(value: object) -> bytes:
    if not isinstance(value, str) or not value:
        raise ValueError("not text")
    if "+" in value or "/" in value:
        bare = value.rstrip("=")
        try:
            return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
        except binascii.Error as error:
            raise ValueError("not base64") from error
    return from_base64url(value)


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
