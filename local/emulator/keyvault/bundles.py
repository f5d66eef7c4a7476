"""Wire shapes of keys. A vault orders members as documented; a Managed HSM sorts them, in every object.

Ids follow from the vault's current address and are never stored.
"""

import json
import random
from typing import Any

from local.emulator.keyvault.kinds import is_hsm
from local.emulator.keyvault.model import DeletedKey, Key, KeyVersion
from local.emulator.world import Vault

_MAX_RETENTION_DAYS = 90
_SOFTWARE_PLATFORM = "0"
# FIPS 140-3 level 3, what new HSM keys of a vault get.
_HSM_PLATFORM = "2"


def to_json(vault: Vault, value: object) -> bytes:
    """Serialise an answer in the member order of the service."""
    return json.dumps(value, separators=(",", ":"), sort_keys=is_hsm(vault)).encode()


def key_id(vault: Vault, name: str, version: str | None = None) -> str:
    """Return the identifier of a key, or of one of its versions."""
    return f"{vault.base_url}/keys/{name}/{version}" if version else f"{vault.base_url}/keys/{name}"


def recovery(vault: Vault) -> tuple[str, int]:
    """Return `recoveryLevel` and `recoverableDays`, which follow from the vault alone."""
    if not vault.soft_delete:
        return "Purgeable", 0
    level = "Recoverable" if vault.retention_days >= _MAX_RETENTION_DAYS else "CustomizedRecoverable"
    return (level if vault.purge_protection else f"{level}+Purgeable"), vault.retention_days


def attributes(vault: Vault, version: KeyVersion) -> dict[str, Any]:
    """Return the attributes member."""
    hsm = is_hsm(vault)
    members: dict[str, Any] = {"enabled": version.enabled}
    if version.material.family == "RSA" and not hsm:
        members["key_size"] = version.material.size
    if version.not_before is not None:
        members["nbf"] = version.not_before
    if version.expires_on is not None:
        members["exp"] = version.expires_on
    members["created"] = version.created
    members["updated"] = version.updated
    members["recoveryLevel"], members["recoverableDays"] = recovery(vault)
    members["exportable"] = version.exportable
    if not hsm:
        members["hsmPlatform"] = _HSM_PLATFORM if version.hsm else _SOFTWARE_PLATFORM
    return members


def json_web_key(vault: Vault, name: str, version: KeyVersion) -> dict[str, Any]:
    """Return the public JSON Web Key; a Managed HSM lists the operations in no particular order."""
    operations = list(version.key_ops)
    if is_hsm(vault):
        random.shuffle(operations)
    identity = {"kid": key_id(vault, name, version.id), "kty": version.kty, "key_ops": operations}
    return {**identity, **version.material.public}


def key_bundle(vault: Vault, name: str, version: KeyVersion) -> dict[str, Any]:
    """Return the answer about one version of a live key."""
    bundle: dict[str, Any] = {
        "key": json_web_key(vault, name, version),
        "attributes": attributes(vault, version),
    }
    if version.tags:
        bundle["tags"] = version.tags
    if version.release_policy is not None:
        bundle["release_policy"] = version.release_policy.wire()
    if version.managed:
        bundle["managed"] = True
    return bundle


def deleted_key_bundle(vault: Vault, record: DeletedKey) -> dict[str, Any]:
    """Return the answer about a soft-deleted key, which shows its newest version."""
    bundle = _deletion(vault, record) | key_bundle(vault, record.key.name, record.key.newest)
    if not is_hsm(vault):
        # Vaults leave the release policy of a deleted key out.
        bundle.pop("release_policy", None)
    return bundle


def _deletion(vault: Vault, record: DeletedKey) -> dict[str, Any]:
    return {
        "recoveryId": f"{vault.base_url}/deletedkeys/{record.key.name}",
        "deletedDate": record.deleted_on,
        "scheduledPurgeDate": record.scheduled_purge_on,
    }


def key_item(vault: Vault, name: str, version: KeyVersion, *, with_version: bool) -> str:
    """Return the serialised list item; attributes and tags are serialised once until they change."""
    kid = key_id(vault, name, version.id if with_version else None)
    attributes_json, tail = _item_parts(vault, version)
    if is_hsm(vault):
        return f'{{"attributes":{attributes_json},"kid":"{kid}"{tail}}}'
    return f'{{"kid":"{kid}","attributes":{attributes_json}{tail}}}'


def deleted_key_item(vault: Vault, record: DeletedKey) -> str:
    """Return the serialised item of a list of deleted keys."""
    key: Key = record.key
    attributes_json, tail = _item_parts(vault, key.newest)
    kid, base = key_id(vault, key.name), vault.base_url
    recovery_id = f'"recoveryId":"{base}/deletedkeys/{key.name}"'
    deleted = f'"deletedDate":{record.deleted_on}'
    purge = f'"scheduledPurgeDate":{record.scheduled_purge_on}'
    if is_hsm(vault):
        return f'{{"attributes":{attributes_json},{deleted},"kid":"{kid}",{recovery_id},{purge}{tail}}}'
    return f'{{{recovery_id},{deleted},{purge},"kid":"{kid}","attributes":{attributes_json}{tail}}}'


def _item_parts(vault: Vault, version: KeyVersion) -> tuple[str, str]:
    level, _ = recovery(vault)
    cached = version.item_cache
    if cached is not None and cached[0] == level:
        return cached[1], cached[2]
    attributes_json = to_json(vault, attributes(vault, version)).decode()
    tail = f',"tags":{to_json(vault, version.tags).decode()}' if version.tags else ""
    if version.managed:
        tail = f'{tail},"managed":true' if not is_hsm(vault) else f',"managed":true{tail}'
    version.item_cache = (level, attributes_json, tail)
    return attributes_json, tail
