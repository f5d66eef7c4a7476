"""Requests of a vault's key API, from our types: method, path and JSON body.

Invariants: a body is a secret until it is sent, for it may hold private material; names and versions are quoted, so
that none of them can become another path; times are whole seconds, as on Azure's wire.

Shapes: 'Azure Key Vault keys' REST reference (Create Key, Import Key, Update Key, Restore Key, Update Key Rotation
Policy) and 'Import HSM-protected keys: BYOK specification' (`key_hsm` is the whole file).
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from urllib.parse import quote

from core.domain.connections import VaultType
from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.new_keys import NewVersion, ReleasePolicy, RotationPolicy, VersionChanges
from core.domain.rate_limits import VaultOperation
from core.domain.secrets import SecretBytes
from core.errors import IntegrityError

type Json = dict[str, object]

_READING = frozenset(
    {VaultOperation.GET, VaultOperation.LIST, VaultOperation.BACK_UP, VaultOperation.GET_ROTATION_POLICY}
)
# The members of a private JWK (RFC 7518, 6.2 and 6.3): without the first there is no key, the others may be left out.
_NEEDED_MEMBERS: Mapping[KeyFamily, tuple[str, ...]] = MappingProxyType(
    {KeyFamily.RSA: ("n", "e", "d"), KeyFamily.EC: ("x", "y", "d")}
)
_MORE_MEMBERS: Mapping[KeyFamily, tuple[str, ...]] = MappingProxyType({KeyFamily.RSA: ("p", "q", "dp", "dq", "qi")})
_POLICY_CONTENT_TYPE = "application/json; charset=utf-8"
# What a vault shows where no policy is set; it adds it to every policy that has no notification.
_DEFAULT_NOTICE: Mapping[str, object] = MappingProxyType(
    {"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}
)


@dataclass(frozen=True, slots=True)
class VaultRequest:
    """One request. `once`: it makes a version each time; `key_type` (Azure's kty) decides which limit counts."""

    operation: VaultOperation
    method: str
    path: str
    body: SecretBytes | None = None
    key_type: str | None = None
    once: bool = False

    @property
    def changes(self) -> bool:
        """Whether the request changes the vault."""
        return self.operation not in _READING

    @property
    def about_deleted(self) -> bool:
        """Whether the request is about soft-deleted keys."""
        return self.path.startswith("/deletedkeys")


def create(name: str, new: NewVersion) -> VaultRequest:
    """Have the vault generate a version."""
    body = {"kty": new.type, **_size_or_curve(new.kind), "key_ops": list(new.operations), **_settings(new)}
    path = f"{_key(name)}/create"
    return VaultRequest(VaultOperation.CREATE, "POST", path, _json(body), new.type, once=True)


def import_key(name: str, new: NewVersion, private_key: SecretBytes) -> VaultRequest:
    """Import a private JWK; IntegrityError if it is none of the kind that `new` says."""
    key = {"kty": new.type, **_private_members(new.kind, private_key), "key_ops": list(new.operations)}
    body = {"Hsm": new.type.endswith("-HSM"), "key": key, **_settings(new)}
    return VaultRequest(VaultOperation.IMPORT, "PUT", _key(name), _json(body), new.type, once=True)


def import_transfer_blob(name: str, new: NewVersion, blob: bytes) -> VaultRequest:
    """Import a key transfer blob, the content of a `.byok` file."""
    curve: Json = {"crv": new.kind.curve} if new.kind.family is KeyFamily.EC else {}
    key = {"kty": new.type, **curve, "key_ops": list(new.operations), "key_hsm": _base64url(blob)}
    body = {"key": key, **_settings(new)}
    return VaultRequest(VaultOperation.IMPORT, "PUT", _key(name), _json(body), new.type, once=True)


def update(name: str, version: str, changes: VersionChanges) -> VaultRequest:
    """Change what `changes` names of a version."""
    enabled: Json = {} if changes.enabled is None else {"enabled": changes.enabled}
    body: Json = {"attributes": {**enabled, **_dates(changes.not_before, changes.expires_on)}}
    if changes.operations is not None:
        body["key_ops"] = list(changes.operations)
    if changes.tags is not None:
        body["tags"] = dict(changes.tags)
    return VaultRequest(VaultOperation.UPDATE, "PATCH", f"{_key(name)}/{quote(version, safe='')}", _json(body))


def rotate(name: str) -> VaultRequest:
    """Have the vault make a version with new material."""
    return VaultRequest(VaultOperation.ROTATE, "POST", f"{_key(name)}/rotate", once=True)


def delete(name: str) -> VaultRequest:
    """Soft-delete."""
    return VaultRequest(VaultOperation.DELETE, "DELETE", _key(name))


def recover(name: str) -> VaultRequest:
    """Recover."""
    return VaultRequest(VaultOperation.RECOVER, "POST", f"{_deleted_key(name)}/recover")


def purge(name: str) -> VaultRequest:
    """Purge."""
    return VaultRequest(VaultOperation.PURGE, "DELETE", _deleted_key(name))


def restore(backup: SecretBytes) -> VaultRequest:
    """Restore a backup blob."""
    body = _json({"value": _base64url(backup.reveal())})
    return VaultRequest(VaultOperation.RESTORE, "POST", "/keys/restore", body)


def get_version(name: str, version: str | None) -> VaultRequest:
    """Read one version, or the current one."""
    return VaultRequest(VaultOperation.GET, "GET", f"{_key(name)}/{quote(version or '', safe='')}")


def get_deleted(name: str) -> VaultRequest:
    """Read a soft-deleted key."""
    return VaultRequest(VaultOperation.GET, "GET", _deleted_key(name))


def back_up(name: str) -> VaultRequest:
    """Back up."""
    return VaultRequest(VaultOperation.BACK_UP, "POST", f"{_key(name)}/backup")


def page(path: str, query: str) -> VaultRequest:
    """Read a page of a list."""
    return VaultRequest(VaultOperation.LIST, "GET", f"{path}?{query}")


def versions_path(name: str) -> str:
    """Return the path of the list of a key's versions."""
    return f"{_key(name)}/versions"


def rotation_policy(name: str) -> VaultRequest:
    """Read a rotation policy."""
    return VaultRequest(VaultOperation.GET_ROTATION_POLICY, "GET", f"{_key(name)}/rotationpolicy")


def set_rotation_policy(name: str, policy: RotationPolicy, vault_type: VaultType) -> VaultRequest:
    """Replace a rotation policy; where nothing rotates, a vault keeps the notification that every policy has."""
    triggers = {"timeAfterCreate": policy.rotate_after_creation, "timeBeforeExpiry": policy.rotate_before_expiry}
    actions: list[object] = [
        {"trigger": {trigger: time}, "action": {"type": "Rotate"}} for trigger, time in triggers.items() if time
    ]
    # A managed HSM knows no notifications.
    if not actions and vault_type is not VaultType.MANAGED_HSM:
        actions.append(dict(_DEFAULT_NOTICE))
    attributes: Json = {"expiryTime": policy.expires_after} if policy.expires_after else {}
    body = _json({"lifetimeActions": actions, "attributes": attributes})
    return VaultRequest(VaultOperation.SET_ROTATION_POLICY, "PUT", f"{_key(name)}/rotationpolicy", body)


def _key(name: str) -> str:
    return f"/keys/{quote(name, safe='')}"


def _deleted_key(name: str) -> str:
    return f"/deletedkeys/{quote(name, safe='')}"


def _size_or_curve(kind: KeyKind) -> Json:
    return {"crv": kind.curve} if kind.family is KeyFamily.EC else {"key_size": kind.size}


def _settings(new: NewVersion) -> Json:
    attributes: Json = {"enabled": new.validity.enabled, **_dates(new.validity.not_before, new.validity.expires_on)}
    if new.exportable:
        attributes["exportable"] = True
    settings: Json = {"attributes": attributes}
    if new.tags:
        settings["tags"] = dict(new.tags)
    if new.release_policy is not None:
        settings["release_policy"] = _release_policy(new.release_policy)
    return settings


def _dates(not_before: datetime | None, expires_on: datetime | None) -> Json:
    dates = {"nbf": not_before, "exp": expires_on}
    return {member: int(moment.timestamp()) for member, moment in dates.items() if moment is not None}


def _release_policy(policy: ReleasePolicy) -> Json:
    return {
        "contentType": _POLICY_CONTENT_TYPE,
        "data": _base64url(policy.data.encode()),
        "immutable": policy.immutable,
    }


def _private_members(kind: KeyKind, private_key: SecretBytes) -> Json:
    needed, more = _NEEDED_MEMBERS.get(kind.family, ()), _MORE_MEMBERS.get(kind.family, ())
    try:
        given = json.loads(private_key.reveal())
        members = {name: given[name] for name in (*needed, *more) if name in given}
    except (ValueError, TypeError, RecursionError):
        members = {}
    if not members or not members.keys() >= set(needed):
        raise IntegrityError("The private key is no JWK of the kind that it is to be imported as.")
    curve: Json = {"crv": kind.curve} if kind.family is KeyFamily.EC else {}
    return {**curve, **members}


def _json(body: Mapping[str, object]) -> SecretBytes:
    return SecretBytes(json.dumps(body, separators=(",", ":")).encode())


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
