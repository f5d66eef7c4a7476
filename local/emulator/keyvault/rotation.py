"""Rotation policies, rotation on demand, and rotation when the clock passes a policy's date.

A vault answers a policy with ids and normalised action types and adds the notification that every policy has;
a Managed HSM echoes what was sent. A rotated version has the kind, operations and tags of the newest one.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from local.emulator.keyvault import bundles, material
from local.emulator.keyvault.calls import Call
from local.emulator.keyvault.errors import bad_parameter, key_not_found
from local.emulator.keyvault.kinds import is_hsm
from local.emulator.keyvault.model import Key, KeyVersion, LifetimeAction, RotationPolicy
from local.emulator.keyvault.name_states import check_writable
from local.emulator.keyvault.names import fold
from local.emulator.keyvault.schedules import ROTATE, duration_seconds, rotation_due, schedule_rotation
from local.emulator.keyvault.versions import add_version, has_room

_NOTIFY = "Notify"
_DEFAULT_NOTICE = "P30D"
_VAULT_MINIMUM = "P7D"
_HSM_MINIMUM = "P28D"
_MINIMUM_EXPIRY = "P28D"


async def get_rotation_policy(call: Call) -> dict[str, Any]:
    """Return the policy of a key, or the service's answer for a key without one."""
    key = call.live_key()
    if key.rotation_policy is not None:
        return _policy_wire(call, key, key.rotation_policy)
    if is_hsm(call.vault):
        return {"attributes": {"created": 0, "expiryTime": "", "updated": 0}, "id": ""}
    return {"lifetimeActions": [_action_wire(_default_notification())], "attributes": None}


async def update_rotation_policy(call: Call) -> dict[str, Any]:
    """Set the policy of a key."""
    check_writable(call)
    key = call.live_key()
    attributes = call.body.get("attributes") or {}
    expiry = attributes.get("expiryTime") if isinstance(attributes, Mapping) else None
    if expiry and _seconds(expiry) < duration_seconds(_MINIMUM_EXPIRY):
        raise bad_parameter(f"The expiry time must be at least {_MINIMUM_EXPIRY}.")
    actions = _actions(call, call.body.get("lifetimeActions") or [])
    _check_actions(call, actions, expiry or None)
    created = key.rotation_policy.created if key.rotation_policy is not None else int(call.now)
    key.rotation_policy = RotationPolicy(actions, expiry or None, created, int(call.now))
    schedule_rotation(call.store, key)
    return _policy_wire(call, key, key.rotation_policy)


async def rotate_key(call: Call) -> dict[str, Any]:
    """Make a new version as the policy says, now."""
    check_writable(call)
    key = call.store.keys.get(fold(call.name))
    if key is None:
        raise key_not_found(call.vault, call.name, rotating=True)
    if is_hsm(call.vault) and key.rotation_policy is None:
        raise bad_parameter("A rotation policy must be set before the key can be rotated.")
    version = await _rotated(key, int(call.now))
    check_writable(call)
    if call.store.keys.get(fold(call.name)) is not key:
        raise key_not_found(call.vault, call.name, rotating=True)
    add_version(call.vault, call.store, key.name, version)
    return bundles.key_bundle(call.vault, key.name, version)


async def rotate_due_keys(call: Call) -> None:
    """Rotate, once each, the keys whose policies have fallen due."""
    for folded in list(call.store.due_rotations(call.now)):
        key = call.store.keys.get(folded)
        due = rotation_due(key) if key is not None else None
        if key is None or due is None or due > call.now or not has_room(call.vault, key):
            continue
        version = await _rotated(key, int(call.now))
        # Generating took a while: the key may have been deleted since.
        if call.store.keys.get(folded) is key:
            add_version(call.vault, call.store, key.name, version)


async def _rotated(key: Key, now: int) -> KeyVersion:
    newest, policy = key.newest, key.rotation_policy
    old = newest.material
    exponent = old.rsa_key.public_key().public_numbers().e if old.family == "RSA" else material.DEFAULT_EXPONENT
    made = await material.generate(old.family, size=old.size, curve=old.curve, exponent=exponent)
    expiry = policy.expiry_time if policy is not None else None
    return KeyVersion(
        id=uuid.uuid4().hex,
        kty=newest.kty,
        material=made,
        key_ops=list(newest.key_ops),
        created=now,
        updated=now,
        expires_on=now + duration_seconds(expiry) if expiry else None,
        exportable=newest.exportable,
        tags=dict(newest.tags),
        release_policy=newest.release_policy,
    )


def _actions(call: Call, value: object) -> list[LifetimeAction]:
    if not isinstance(value, list):
        raise bad_parameter("lifetimeActions must be a list.")
    actions = [_action(item) for item in value]
    if is_hsm(call.vault):
        return actions
    actions = [LifetimeAction(a.action.capitalize(), a.time_after_create, a.time_before_expiry) for a in actions]
    if all(action.action != _NOTIFY for action in actions):
        actions.append(_default_notification())
    return actions


def _action(item: object) -> LifetimeAction:
    trigger = item.get("trigger") if isinstance(item, Mapping) else None
    action = item.get("action") if isinstance(item, Mapping) else None
    kind = action.get("type") if isinstance(action, Mapping) else None
    if not isinstance(trigger, Mapping) or not isinstance(kind, str) or kind.capitalize() not in (ROTATE, _NOTIFY):
        raise bad_parameter("A lifetime action needs a trigger and an action of type Rotate or Notify.")
    after, before = trigger.get("timeAfterCreate"), trigger.get("timeBeforeExpiry")
    if (after is None) == (before is None):
        raise bad_parameter("A trigger needs either timeAfterCreate or timeBeforeExpiry.")
    _seconds(after if before is None else before)
    return LifetimeAction(kind, after, before)


def _check_actions(call: Call, actions: list[LifetimeAction], expiry: str | None) -> None:
    kinds = [action.action.lower() for action in actions]
    if len(set(kinds)) != len(kinds):
        raise bad_parameter("A rotation policy can have one action of each type.")
    hsm = is_hsm(call.vault)
    if hsm and _NOTIFY.lower() in kinds:
        raise bad_parameter("The action type Notify is not supported.")
    minimum = _HSM_MINIMUM if hsm else _VAULT_MINIMUM
    for action in actions:
        if action.action == _NOTIFY:
            continue
        if duration_seconds(action.time_after_create or action.time_before_expiry or "P0D") < duration_seconds(minimum):
            raise bad_parameter(f"The time of a rotation must be at least {minimum}.")
        if action.time_before_expiry is not None and expiry is None:
            raise bad_parameter("A rotation before expiry needs an expiry time.")


def _seconds(value: object) -> int:
    try:
        if isinstance(value, str):
            return duration_seconds(value)
    except ValueError:
        pass
    raise bad_parameter("A time of a rotation policy must be an ISO 8601 duration.")


def _default_notification() -> LifetimeAction:
    return LifetimeAction(_NOTIFY, time_before_expiry=_DEFAULT_NOTICE)


def _policy_wire(call: Call, key: Key, policy: RotationPolicy) -> dict[str, Any]:
    attributes: dict[str, Any] = {"expiryTime": policy.expiry_time} if policy.expiry_time else {}
    attributes |= {"created": policy.created, "updated": policy.updated}
    path = f"keys/{key.name}/rotationpolicy"
    return {
        "id": path if is_hsm(call.vault) else f"{call.vault.base_url}/{path}",
        "lifetimeActions": [_action_wire(action) for action in policy.actions],
        "attributes": attributes,
    }


def _action_wire(action: LifetimeAction) -> dict[str, Any]:
    if action.time_after_create is not None:
        return {"trigger": {"timeAfterCreate": action.time_after_create}, "action": {"type": action.action}}
    return {"trigger": {"timeBeforeExpiry": action.time_before_expiry}, "action": {"type": action.action}}
