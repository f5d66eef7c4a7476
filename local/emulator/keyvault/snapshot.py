"""Saving and loading the keys of a vault. Material that versions share is written once."""

from typing import Any

from local.emulator.keyvault.material import Material
from local.emulator.keyvault.model import DeletedKey, Key, LifetimeAction, RotationPolicy
from local.emulator.keyvault.records import material_from_json, material_to_json, version_from_json, version_to_json
from local.emulator.keyvault.schedules import schedule_rotation
from local.emulator.keyvault.store import VaultStore, set_store, store_of
from local.emulator.world import Vault


def dump_vault(vault: Vault) -> dict[str, Any]:
    """Return the keys of `vault` as a JSON value, private material included."""
    store = store_of(vault)
    materials: list[dict[str, Any]] = []
    places: dict[int, int] = {}
    live = [_key_to_json(key, materials, places) for key in store.keys.values()]
    deleted = [
        {
            "key": _key_to_json(record.key, materials, places),
            "deleted_on": record.deleted_on,
            "scheduled_purge_on": record.scheduled_purge_on,
            "visible_at": record.visible_at,
        }
        for record in store.deleted.values()
    ]
    return {"materials": materials, "keys": live, "deleted": deleted, "purging": dict(store.purging)}


def load_vault(vault: Vault, state: dict[str, Any]) -> None:
    """Give `vault` the keys that `dump_vault` returned; an empty state means no keys."""
    materials = [material_from_json(item) for item in state.get("materials", [])]
    store = VaultStore(purging=dict(state.get("purging", {})))
    live = [_key_from_json(item, materials) for item in state.get("keys", [])]
    deleted = [
        DeletedKey(
            _key_from_json(item["key"], materials), item["deleted_on"], item["scheduled_purge_on"], item["visible_at"]
        )
        for item in state.get("deleted", [])
    ]
    store.add_all(live, deleted)
    for key in live:
        schedule_rotation(store, key)
    set_store(vault, store)


def _key_to_json(key: Key, materials: list[dict[str, Any]], places: dict[int, int]) -> dict[str, Any]:
    versions = []
    for version in key.versions.values():
        place = _place(version.material, materials, places)
        versions.append(version_to_json(version) | {"material": place})
    policy = key.rotation_policy
    return {
        "name": key.name,
        "versions": versions,
        "visible_at": key.visible_at,
        "rotation_policy": _policy_to_json(policy) if policy is not None else None,
    }


def _place(material: Material, materials: list[dict[str, Any]], places: dict[int, int]) -> int:
    place = places.get(id(material))
    if place is None:
        place = places[id(material)] = len(materials)
        materials.append(material_to_json(material))
    return place


def _key_from_json(value: dict[str, Any], materials: list[Material]) -> Key:
    versions = [version_from_json(item, materials[item["material"]]) for item in value["versions"]]
    policy = value["rotation_policy"]
    return Key(
        value["name"],
        {version.id: version for version in versions},
        _policy_from_json(policy) if policy is not None else None,
        value["visible_at"],
    )


def _policy_to_json(policy: RotationPolicy) -> dict[str, Any]:
    actions = [[action.action, action.time_after_create, action.time_before_expiry] for action in policy.actions]
    return {
        "actions": actions,
        "expiry_time": policy.expiry_time,
        "created": policy.created,
        "updated": policy.updated,
    }


def _policy_from_json(value: dict[str, Any]) -> RotationPolicy:
    actions = [LifetimeAction(*action) for action in value["actions"]]
    return RotationPolicy(actions, value["expiry_time"], value["created"], value["updated"])
