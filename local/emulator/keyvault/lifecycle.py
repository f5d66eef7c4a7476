"""Create, import, read, update, delete, recover and purge.

A vault answers delete, recover and purge at once but shows their effect only after a while: the name is found
neither live nor deleted, and work on it conflicts. A Managed HSM shows every effect at once.
"""

import asyncio
import uuid
from typing import Any

from local.emulator.keyvault import bundles, material, params
from local.emulator.keyvault.byok import material_from_transfer_blob
from local.emulator.keyvault.calls import Call
from local.emulator.keyvault.errors import bad_parameter, deleted_key_not_found, forbidden, key_not_found, not_supported
from local.emulator.keyvault.kinds import is_hsm
from local.emulator.keyvault.material import Material, MaterialError
from local.emulator.keyvault.model import DeletedKey, KeyVersion
from local.emulator.keyvault.name_states import check_no_deletion_runs, check_no_recovery_runs, check_writable
from local.emulator.keyvault.names import fold
from local.emulator.keyvault.params import KeySettings
from local.emulator.keyvault.release_policies import check_release_policy, check_release_policy_change
from local.emulator.keyvault.schedules import DAY_SECONDS, schedule_rotation
from local.emulator.keyvault.versions import add_version


async def create_key(call: Call) -> dict[str, Any]:
    """Generate a key, or a new version of one that exists."""
    kind = params.key_kind(call.vault, call.body)
    settings = params.settings(call.vault, call.body, kind.family)
    check_release_policy(call.vault, settings)
    check_writable(call)
    made = await material.generate(kind.family, size=kind.size, curve=kind.curve, exponent=kind.exponent)
    return _add_version(call, kind.kty, made, settings)


async def import_key(call: Call) -> dict[str, Any]:
    """Take in a JSON Web Key or a key transfer blob as a key, or as a new version of one that exists."""
    web_key = call.body.get("key")
    if not isinstance(web_key, dict) or (not web_key.get("kty") and not is_hsm(call.vault)):
        raise bad_parameter('The property "key" must be a valid JsonWebKey object.')
    kty, family = params.key_type(call.vault, web_key.get("kty"), hardware=call.body.get("Hsm") is True)
    settings = params.settings(call.vault, call.body | {"key_ops": web_key.get("key_ops")}, family)
    check_release_policy(call.vault, settings)
    check_writable(call)
    if web_key.get("key_hsm") is not None:
        taken = await asyncio.to_thread(material_from_transfer_blob, call, web_key, kty, family)
        return _add_version(call, kty, taken, settings)
    if family == "oct":
        raise bad_parameter("Symmetric keys can be imported with a key transfer blob only.")
    try:
        # Checking that the numbers of an RSA key belong together takes up to a third of a second.
        taken = await asyncio.to_thread(material.from_json_web_key, family, web_key)
    except MaterialError as error:
        raise bad_parameter(str(error)) from error
    return _add_version(call, kty, taken, settings)


async def get_key(call: Call) -> dict[str, Any]:
    """Return a version; a disabled, expired or not yet valid one too."""
    key, version = call.live_version()
    return bundles.key_bundle(call.vault, key.name, version)


async def update_key(call: Call) -> dict[str, Any]:
    """Change operations, attributes, tags or release policy of a version; the material stays."""
    check_writable(call)
    key, version = call.live_version()
    settings = params.settings(call.vault, call.body, version.material.family)
    check_release_policy_change(call.vault, version, settings)
    version.key_ops = settings.key_ops if settings.key_ops is not None else version.key_ops
    version.enabled = settings.enabled if settings.enabled is not None else version.enabled
    version.not_before = settings.not_before if settings.not_before is not None else version.not_before
    version.expires_on = settings.expires_on if settings.expires_on is not None else version.expires_on
    version.tags = settings.tags if settings.tags is not None else version.tags
    version.release_policy = settings.release_policy or version.release_policy
    version.updated = int(call.now)
    version.item_cache = None
    schedule_rotation(call.store, key)
    return bundles.key_bundle(call.vault, key.name, version)


async def delete_key(call: Call) -> dict[str, Any]:
    """Soft-delete a key with all its versions; without soft delete it is gone at once."""
    check_no_deletion_runs(call)
    check_no_recovery_runs(call)
    key = call.live_key()
    if key.newest.managed:
        message = 'Operation "delete" is not allowed as this object\'s lifetime is managed by Key Vault.'
        raise forbidden(message, "KeyManagedByKeyVault")
    call.store.take(fold(key.name))
    if not call.vault.soft_delete:
        return bundles.key_bundle(call.vault, key.name, key.newest)
    deleted_on = int(call.now)
    purge_on = deleted_on + call.vault.retention_days * DAY_SECONDS
    record = DeletedKey(key, deleted_on, purge_on, _visible_at(call, call.world.timings.delete))
    call.store.add_deleted(record)
    return bundles.deleted_key_bundle(call.vault, record)


async def get_deleted_key(call: Call) -> dict[str, Any]:
    """Return a soft-deleted key."""
    return bundles.deleted_key_bundle(call.vault, _visible_deleted(call))


async def recover_deleted_key(call: Call) -> dict[str, Any]:
    """Bring a soft-deleted key back with all its versions."""
    check_no_deletion_runs(call)
    check_no_recovery_runs(call)
    folded = fold(call.name)
    if folded not in call.store.deleted:
        raise key_not_found(call.vault, call.name)
    key = call.store.take_deleted(folded).key
    key.visible_at = _visible_at(call, call.world.timings.recover)
    call.store.add(key)
    schedule_rotation(call.store, key)
    return bundles.key_bundle(call.vault, key.name, key.newest)


async def purge_deleted_key(call: Call) -> None:
    """Destroy a soft-deleted key for good."""
    if not call.vault.soft_delete:
        raise not_supported('Operation "purge" is not enabled for this vault.')
    if call.vault.purge_protection:
        raise forbidden(
            'Operation "purge" is not allowed because purge protection is enabled for this vault. Key Vault service '
            "will automatically purge it after the retention period has passed.\r\n"
            f"Vault: {call.vault.name};location={call.vault.location}"
        )
    check_no_deletion_runs(call)
    _visible_deleted(call)
    folded = fold(call.name)
    call.store.take_deleted(folded)
    if not is_hsm(call.vault) and call.world.timings.purge > 0:
        call.store.purging[folded] = call.now + call.world.timings.purge


def _add_version(call: Call, kty: str, made: Material, settings: KeySettings) -> dict[str, Any]:
    # Generating took a while: the name may have been deleted since.
    check_writable(call)
    version = KeyVersion(
        id=uuid.uuid4().hex,
        kty=kty,
        material=made,
        key_ops=settings.key_ops if settings.key_ops is not None else params.default_operations(made.family),
        created=int(call.now),
        updated=int(call.now),
        enabled=settings.enabled is not False,
        not_before=settings.not_before,
        expires_on=settings.expires_on,
        exportable=settings.exportable is True,
        tags=settings.tags or {},
        release_policy=settings.release_policy,
    )
    key = add_version(call.vault, call.store, call.name, version)
    return bundles.key_bundle(call.vault, key.name, version)


def _visible_deleted(call: Call) -> DeletedKey:
    record = call.store.deleted.get(fold(call.name))
    if record is None or record.visible_at > call.now:
        raise deleted_key_not_found(call.vault, call.name)
    return record


def _visible_at(call: Call, delay: float) -> float:
    return call.now if is_hsm(call.vault) else call.now + delay
