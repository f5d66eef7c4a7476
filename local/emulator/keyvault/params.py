"""Bodies of create, import and update requests, parsed and checked against what the vault's tier can hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.emulator.keyvault.encoding import from_base64url
from local.emulator.keyvault.errors import KeyVaultError, bad_parameter
from local.emulator.keyvault.kinds import is_hsm
from local.emulator.keyvault.material import CURVES, DEFAULT_EXPONENT, OCT_SIZES, RSA_SIZES, Family
from local.emulator.keyvault.model import (
    ALL_RSA_OPERATIONS,
    KEY_OPERATIONS,
    OCT_OPERATIONS,
    SIGNATURE_OPERATIONS,
    ReleasePolicy,
)
from local.emulator.world import Vault

DEFAULT_CURVE = "P-256"
IMPORT_ONLY = ["import"]
_POLICY_CONTENT_TYPE = "application/json; charset=utf-8"
_MAX_TAGS = 15
_MAX_TAG_LENGTH = 256
_MAX_EXPONENT_BITS = 32

_FAMILIES: Mapping[str, Family] = {
    "RSA": "RSA",
    "RSA-HSM": "RSA",
    "EC": "EC",
    "EC-HSM": "EC",
    "oct": "oct",
    "oct-HSM": "oct",
}
_DEFAULT_OPERATIONS: Mapping[Family, Sequence[str]] = {
    "RSA": ALL_RSA_OPERATIONS,
    "EC": SIGNATURE_OPERATIONS,
    "oct": OCT_OPERATIONS,
}
_DEFAULT_SIZES: Mapping[Family, int] = {"RSA": 2048, "EC": 0, "oct": 256}
_SIZES: Mapping[Family, Sequence[int]] = {"RSA": RSA_SIZES, "EC": (), "oct": OCT_SIZES}


@dataclass(frozen=True, slots=True)
class KeySettings:
    """What a request sets on a version; None leaves the member as it is or at its default."""

    key_ops: list[str] | None = None
    enabled: bool | None = None
    not_before: int | None = None
    expires_on: int | None = None
    exportable: bool | None = None
    tags: dict[str, str] | None = None
    release_policy: ReleasePolicy | None = None


@dataclass(frozen=True, slots=True)
class KeyKind:
    """The type of a key to make: wire name, family and, as the family has it, size, curve or exponent."""

    kty: str
    family: Family
    size: int
    curve: str
    exponent: int = DEFAULT_EXPONENT


def key_kind(vault: Vault, body: Mapping[str, Any]) -> KeyKind:
    """Return the kind that a create request asks for."""
    kty, family = key_type(vault, body.get("kty"))
    size = _integer(body, "key_size") or _DEFAULT_SIZES[family]
    curve = body.get("crv") or DEFAULT_CURVE
    exponent = _integer(body, "public_exponent") or DEFAULT_EXPONENT
    if family == "EC":
        if curve not in CURVES:
            raise _invalid_property(vault, "crv")
        return KeyKind(kty, family, 0, curve)
    if size not in _SIZES[family]:
        raise _invalid_property(vault, "key_size")
    if family == "RSA" and (exponent % 2 == 0 or not 1 < exponent < 2**_MAX_EXPONENT_BITS):
        raise _invalid_property(vault, "public_exponent")
    return KeyKind(kty, family, size, "", exponent)


def key_type(vault: Vault, kty: object, *, hardware: bool = False) -> tuple[str, Family]:
    """Return the wire name under which this vault keeps a key of type `kty`, and its family.

    A Managed HSM keeps everything as -HSM; a vault does when asked to, and only on the premium tier.
    """
    if not isinstance(kty, str) or kty not in _FAMILIES:
        raise bad_parameter("JSON Web Key: kty is missing") if is_hsm(vault) else _invalid_property(vault, "")
    family = _FAMILIES[kty]
    if is_hsm(vault) or hardware:
        kty = kty if kty.endswith("-HSM") else f"{kty}-HSM"
    if not is_hsm(vault) and kty not in _vault_types(vault):
        raise _invalid_property(vault, "")
    return kty, family


def _vault_types(vault: Vault) -> tuple[str, ...]:
    hardware = ("RSA-HSM", "EC-HSM", "oct-HSM") if vault.sku == "premium" else ()
    return ("RSA", "EC", *hardware)


def settings(vault: Vault, body: Mapping[str, Any], family: Family) -> KeySettings:
    """Parse attributes, tags, operations and release policy of a create, import or update request."""
    members = body.get("attributes")
    if members is not None and not isinstance(members, Mapping):
        raise _invalid_property(vault, "attributes")
    members = members or {}
    return KeySettings(
        key_ops=_operations(vault, body.get("key_ops"), family),
        enabled=_boolean(members, "enabled"),
        not_before=_integer(members, "nbf"),
        expires_on=_integer(members, "exp"),
        exportable=_boolean(members, "exportable"),
        tags=_tags(body.get("tags")),
        release_policy=_release_policy(vault, body.get("release_policy")),
    )


def default_operations(family: Family) -> list[str]:
    """Return the operations of a key made without naming any."""
    return list(_DEFAULT_OPERATIONS[family])


def _operations(vault: Vault, value: object, family: Family) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _invalid_property(vault, "key_ops")
    operations = list(dict.fromkeys(value))
    if not KEY_OPERATIONS.issuperset(operations):
        raise _invalid_property(vault, "key_ops")
    if "import" in operations and operations != IMPORT_ONLY:
        raise bad_parameter("The key operation 'import' cannot be combined with other key operations.")
    if not {*_DEFAULT_OPERATIONS[family], "import", "export"}.issuperset(operations):
        raise bad_parameter(f"A key operation is not supported for keys of type {family}.")
    return operations


def _tags(value: object) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise bad_parameter("Tags must be an object of strings.")
    if len(value) > _MAX_TAGS or any(len(text) > _MAX_TAG_LENGTH for pair in value.items() for text in pair):
        raise bad_parameter(f"At most {_MAX_TAGS} tags of {_MAX_TAG_LENGTH} characters each are supported.")
    return dict(value)


def _release_policy(vault: Vault, value: object) -> ReleasePolicy | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or not isinstance(value.get("data"), str):
        raise _invalid_property(vault, "release_policy")
    try:
        from_base64url(value["data"])
    except ValueError as error:
        raise _invalid_property(vault, "release_policy") from error
    content_type = value.get("contentType") or _POLICY_CONTENT_TYPE
    return ReleasePolicy(str(content_type), value["data"].rstrip("="), value.get("immutable") is True)


def _integer(members: Mapping[str, Any], name: str) -> int | None:
    value = members.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise bad_parameter(f"The value of {name} must be a non-negative integer.")
    return value


def _boolean(members: Mapping[str, Any], name: str) -> bool | None:
    value = members.get(name)
    if value is not None and not isinstance(value, bool):
        raise bad_parameter(f"The value of {name} must be true or false.")
    return value


def _invalid_property(vault: Vault, name: str) -> KeyVaultError:
    # Vaults leave both blanks when the property is the key type.
    return bad_parameter(f"Property {name} has invalid value" + ("" if is_hsm(vault) else "\r\n"))
