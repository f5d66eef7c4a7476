"""Backup and restore: a key with all its versions as one encrypted blob.

A vault's blob is a fixed prefix and a compact JWE for the key of its subscription and geography; a Managed
HSM's is a compact JWE under the key of its security domain. A restore brings back every version under its id,
attributes and times, and needs a name that is neither live nor soft-deleted. A blob never expires.
"""

import json
import os
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from local.emulator.keyvault import bundles, jwe
from local.emulator.keyvault.calls import Call
from local.emulator.keyvault.encoding import from_base64url, to_base64url
from local.emulator.keyvault.errors import bad_parameter, forbidden, malformed_backup, restore_conflict
from local.emulator.keyvault.kinds import is_hsm
from local.emulator.keyvault.model import Key
from local.emulator.keyvault.name_states import purge_runs
from local.emulator.keyvault.names import fold
from local.emulator.keyvault.records import material_from_json, material_to_json, version_from_json, version_to_json
from local.emulator.keyvault.regions import domain_key, region_key, region_key_id

MAX_VERSIONS = 500
_PREFIX = "&AzureKeyVaultKeyBackupV1.microsoft.com"
_HSM_KEY_ID = "backup-protection-key"
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


async def backup_key(call: Call) -> dict[str, Any]:
    """Return the blob of a key; being disabled or expired does not matter."""
    key = call.live_key()
    if len(key.versions) > MAX_VERSIONS:
        raise bad_parameter(f"The key has more than {MAX_VERSIONS} versions and cannot be backed up.")
    payload = json.dumps({"name": key.name, "versions": [_version_json(key, id_) for id_ in key.versions]}).encode()
    if is_hsm(call.vault):
        header = {"alg": "dir", "enc": jwe.ENCRYPTION, "kid": _HSM_KEY_ID}
        token = jwe.encrypt(payload, domain_key(call.vault.security_domain), header=header, encrypted_key=b"")
        return {"value": to_base64url(token.encode())}
    return {"value": to_base64url((_PREFIX + await _encrypt_for_region(call, payload)).encode())}


async def restore_key(call: Call) -> dict[str, Any]:
    """Bring the key of a blob back; answers with its newest version."""
    value = call.body.get("value")
    if not isinstance(value, str) or not value:
        raise malformed_backup()
    name, key = _key_of(json.loads(await _decrypt(call, value)))
    folded = fold(name)
    if folded in call.store.keys or folded in call.store.deleted or purge_runs(call, folded):
        raise restore_conflict(bundles.key_id(call.vault, name, key.newest.id))
    if not is_hsm(call.vault) and call.vault.sku != "premium" and any(v.hsm for v in key.versions.values()):
        raise bad_parameter("The vault cannot hold a key that is protected by an HSM.")
    call.store.add(key)
    return bundles.key_bundle(call.vault, key.name, key.newest)


def _version_json(key: Key, version_id: str) -> dict[str, Any]:
    version = key.versions[version_id]
    return version_to_json(version) | {"material": material_to_json(version.material)}


def _key_of(payload: dict[str, Any]) -> tuple[str, Key]:
    versions = [version_from_json(item, material_from_json(item["material"])) for item in payload["versions"]]
    return payload["name"], Key(payload["name"], {version.id: version for version in versions})


async def _encrypt_for_region(call: Call, payload: bytes) -> str:
    region = call.vault.subscription_id, call.vault.geography
    public = (await region_key(*region)).public_key()
    content_key = os.urandom(jwe.KEY_OCTETS)
    header = {"kid": region_key_id(*region), "alg": "RSA-OAEP-256", "enc": jwe.ENCRYPTION}
    return jwe.encrypt(payload, content_key, header=header, encrypted_key=public.encrypt(content_key, _OAEP))


async def _decrypt(call: Call, value: str) -> bytes:
    try:
        token = from_base64url(value).decode("ascii")
    except ValueError as error:
        raise malformed_backup() from error
    try:
        if is_hsm(call.vault):
            return jwe.decrypt(token, lambda _header, _key: domain_key(call.vault.security_domain))
        return await _decrypt_for_region(call, token)
    except jwe.JweError as error:
        raise malformed_backup() from error


async def _decrypt_for_region(call: Call, token: str) -> bytes:
    if not token.startswith(_PREFIX):
        raise malformed_backup()
    region = call.vault.subscription_id, call.vault.geography
    private = await region_key(*region)

    def content_key_of(header: dict[str, Any], encrypted_key: bytes) -> bytes:
        if header.get("kid") != region_key_id(*region):
            raise forbidden("The backup was made in another subscription or geography and cannot be restored here.")
        try:
            return private.decrypt(encrypted_key, _OAEP)
        except ValueError as error:
            raise jwe.JweError("the content key does not decrypt") from error

    return jwe.decrypt(token.removeprefix(_PREFIX), content_key_of)
