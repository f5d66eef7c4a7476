"""Key versions as JSON values: the one form used in backups and in the emulator's saved state.

It holds private material. Backups encrypt it; the saved state is as private as the folder it lies in.
"""

import base64
from typing import Any

from local.emulator.keyvault.material import Material
from local.emulator.keyvault.model import KeyVersion, ReleasePolicy


def version_to_json(version: KeyVersion) -> dict[str, Any]:
    """Return everything about a version but its material."""
    policy = version.release_policy
    return {
        "id": version.id,
        "kty": version.kty,
        "key_ops": version.key_ops,
        "created": version.created,
        "updated": version.updated,
        "enabled": version.enabled,
        "nbf": version.not_before,
        "exp": version.expires_on,
        "exportable": version.exportable,
        "tags": version.tags,
        "release_policy": [policy.content_type, policy.data, policy.immutable] if policy else None,
        "managed": version.managed,
    }


def version_from_json(value: dict[str, Any], material: Material) -> KeyVersion:
    """Return the version that `version_to_json` wrote."""
    policy = value["release_policy"]
    return KeyVersion(
        id=value["id"],
        kty=value["kty"],
        material=material,
        key_ops=value["key_ops"],
        created=value["created"],
        updated=value["updated"],
        enabled=value["enabled"],
        not_before=value["nbf"],
        expires_on=value["exp"],
        exportable=value["exportable"],
        tags=value["tags"],
        release_policy=ReleasePolicy(*policy) if policy else None,
        managed=value["managed"],
    )


def material_to_json(material: Material) -> dict[str, Any]:
    """Return the material, its private half included."""
    private = base64.b64encode(material.private).decode()
    return {"family": material.family, "private": private, "public": dict(material.public), "size": material.size}


def material_from_json(value: dict[str, Any]) -> Material:
    """Return the material that `material_to_json` wrote."""
    return Material(value["family"], base64.b64decode(value["private"]), value["public"], value["size"])
