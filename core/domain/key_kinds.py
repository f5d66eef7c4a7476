"""Which keys can be where: types, sizes, curves, protection and operations by target, as one table and one decision.

Invariants: `TIERS` is the only place that knows what a target takes; everything that brings a key somewhere asks
`check_allowed` before anything is sent.

Sources: Microsoft, 'About keys' (key types and protection methods of vaults and managed HSMs; P-256K as an EC curve of
all three), 'Import HSM-protected keys to Key Vault (BYOK)' (symmetric target keys on managed HSMs only), 'Secure key
release' (exportable keys are HSM-protected and have a release policy), BYOK specification ('import' is the only
operation of a key exchange key). That premium groups do without P-256K is a choice of ours, which a policy can change.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from core.domain.connections import VaultType
from core.errors import ConflictError, PolicyViolationError


class KeyFamily(StrEnum):
    """Types of keys, whatever protects them."""

    RSA = "RSA"
    EC = "EC"
    AES = "AES"


class Protection(StrEnum):
    """What protects a key in a vault: software, or hardware security modules."""

    SOFTWARE = "software"
    HSM = "hsm"


@dataclass(frozen=True, slots=True)
class KeyKind:
    """A type with its size in bits (RSA, AES) or its curve (EC)."""

    family: KeyFamily
    size: int | None = None
    curve: str | None = None

    def __str__(self) -> str:
        """How people write it: `RSA 3072`, `EC P-256`."""
        return f"{self.family.value} {self.curve or self.size}"


class Target(StrEnum):
    """The places in which a key can be."""

    SOURCE = "source"
    STANDARD = "standard"
    PREMIUM_SOFTWARE = "premium_software"
    PREMIUM_HSM = "premium_hsm"
    MANAGED_HSM = "managed_hsm"


RSA_SIZES = (2048, 3072, 4096)
AES_SIZES = (128, 192, 256)
CURVES = ("P-256", "P-384", "P-521", "P-256K")
_NIST_CURVES = ("P-256", "P-384", "P-521")
P256K = "P-256K"
#: As many versions as a key can have, where there is a limit ('Managed HSM: service limits'; a vault sets none).
VERSIONS_LIMIT: Mapping[VaultType, int] = MappingProxyType({VaultType.MANAGED_HSM: 100})
CURVE_BITS: Mapping[str, int] = MappingProxyType({"P-256": 256, P256K: 256, "P-384": 384, "P-521": 521})


@dataclass(frozen=True, slots=True)
class Tier:
    """What one target takes. `optional_curves` are those that it takes where a group's policy adds them."""

    rsa_sizes: tuple[int, ...] = RSA_SIZES
    curves: tuple[str, ...] = CURVES
    optional_curves: tuple[str, ...] = ()
    aes_sizes: tuple[int, ...] = ()
    exportable: bool = False


TIERS: Mapping[Target, Tier] = MappingProxyType(
    {
        Target.SOURCE: Tier(aes_sizes=AES_SIZES),
        Target.STANDARD: Tier(),
        Target.PREMIUM_SOFTWARE: Tier(curves=_NIST_CURVES, optional_curves=(P256K,)),
        Target.PREMIUM_HSM: Tier(curves=_NIST_CURVES, optional_curves=(P256K,), exportable=True),
        Target.MANAGED_HSM: Tier(aes_sizes=AES_SIZES, exportable=True),
    }
)

_TARGETS: Mapping[tuple[VaultType, Protection], Target] = MappingProxyType(
    {
        (VaultType.STANDARD, Protection.SOFTWARE): Target.STANDARD,
        (VaultType.PREMIUM, Protection.SOFTWARE): Target.PREMIUM_SOFTWARE,
        (VaultType.PREMIUM, Protection.HSM): Target.PREMIUM_HSM,
        (VaultType.MANAGED_HSM, Protection.HSM): Target.MANAGED_HSM,
    }
)
_DEFAULT_PROTECTION: Mapping[VaultType, Protection] = MappingProxyType(
    {
        VaultType.STANDARD: Protection.SOFTWARE,
        VaultType.PREMIUM: Protection.HSM,
        VaultType.MANAGED_HSM: Protection.HSM,
    }
)

#: What a source key may be used for. `export` covers copies, too: they take the material out of Keysteward.
PERMISSIONS: Mapping[KeyFamily, tuple[str, ...]] = MappingProxyType(
    {
        KeyFamily.RSA: ("export", "sign", "verify", "encrypt", "decrypt", "wrap", "unwrap"),
        KeyFamily.EC: ("export", "sign", "verify"),
        KeyFamily.AES: ("export", "encrypt", "decrypt", "wrap", "unwrap"),
    }
)
#: Azure's words for what a key in a vault may be used for ('About keys': key operations).
OPERATIONS: Mapping[KeyFamily, tuple[str, ...]] = MappingProxyType(
    {
        KeyFamily.RSA: ("encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"),
        KeyFamily.EC: ("sign", "verify"),
        KeyFamily.AES: ("encrypt", "decrypt", "wrapKey", "unwrapKey"),
    }
)
#: The only operation of a key exchange key; it stands alone.
IMPORT_ONLY = ("import",)
_OPERATION_OF = {"wrap": "wrapKey", "unwrap": "unwrapKey"}


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """What a group adds to its tier's allow-list: the optional curves."""

    optional_curves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Violation:
    """One reason why a key cannot be at a target."""

    field: str
    detail: str


def target_of(vault: VaultType, protection: Protection | None) -> Target:
    """Return the target in a vault of this type; PolicyViolationError `key_not_allowed` for a protection it lacks."""
    wanted = protection or _DEFAULT_PROTECTION[vault]
    target = _TARGETS.get((vault, wanted))
    if target is None:
        name = vault.value.replace("_", " ")
        raise _refusal((Violation("protection", f"A {name} holds no {wanted.value}-protected keys."),))
    return target


def protection_of(target: Target) -> Protection:
    """Return what protects keys at a target in a vault."""
    hardware = target in {Target.PREMIUM_HSM, Target.MANAGED_HSM}
    return Protection.HSM if hardware else Protection.SOFTWARE


def azure_type(family: KeyFamily, protection: Protection) -> str:
    """Return Azure's `kty`."""
    name = "oct" if family is KeyFamily.AES else family.value
    return f"{name}-HSM" if protection is Protection.HSM else name


def kind_of(azure_kty: str, size: int | None, curve: str | None) -> KeyKind | None:
    """Return the kind of a key that a vault shows, or None for a type that is not known."""
    name = azure_kty.removesuffix("-HSM")
    family = {"RSA": KeyFamily.RSA, "EC": KeyFamily.EC, "oct": KeyFamily.AES}.get(name)
    if family is None:
        return None
    return KeyKind(family, curve=curve) if family is KeyFamily.EC else KeyKind(family, size)


def operations_of(permissions: Iterable[str]) -> tuple[str, ...]:
    """Return Azure's operations for a source key's permissions; `export` has none."""
    return tuple(_OPERATION_OF.get(name, name) for name in permissions if name != "export")


def permissions_of(family: KeyFamily) -> tuple[str, ...]:
    """Return the permissions of a source key that nobody named any for: all but `export`."""
    return tuple(name for name in PERMISSIONS[family] if name != "export")


def violations(
    target: Target,
    kind: KeyKind,
    operations: Iterable[str],
    *,
    exportable: bool = False,
    policy: KeyPolicy = KeyPolicy(),
) -> tuple[Violation, ...]:
    """Return every reason why a key cannot be made at, or brought to, a target; none if it can.

    `operations` are Azure's words, or permissions where the target is a source group.
    """
    found = [*_kind_violations(target, kind, policy), *_operation_violations(target, kind, tuple(operations))]
    if exportable and not TIERS[target].exportable:
        found.append(Violation("exportable", "Only keys that an HSM protects can be exportable with a release policy."))
    return tuple(found)


def check_allowed(
    target: Target,
    kind: KeyKind,
    operations: Iterable[str],
    *,
    exportable: bool = False,
    policy: KeyPolicy = KeyPolicy(),
) -> None:
    """Raise PolicyViolationError `key_not_allowed` that names every violation."""
    found = violations(target, kind, operations, exportable=exportable, policy=policy)
    if found:
        raise _refusal(found)


def check_kind(target: Target, kind: KeyKind, policy: KeyPolicy) -> None:
    """Raise PolicyViolationError `key_not_allowed` where a target does not take a kind, whatever it is used for."""
    found = tuple(_kind_violations(target, kind, policy))
    if found:
        raise _refusal(found)


def check_operations(family: KeyFamily, operations: Iterable[str]) -> None:
    """Raise PolicyViolationError `key_not_allowed` where keys of this type, wherever they are, lack an operation."""
    allowed = OPERATIONS[family]
    unknown = sorted(set(operations) - set(allowed))
    if unknown:
        detail = f"{', '.join(unknown)}: not for keys of type {family.value}; {', '.join(allowed)} are."
        raise _refusal((Violation("operations", detail),))


def check_room(vault: VaultType, versions: int) -> None:
    """Raise ConflictError `version_limit` where a key with so many versions cannot have one more."""
    limit = VERSIONS_LIMIT.get(vault)
    if limit is not None and versions >= limit:
        detail = f"The key has {versions} versions, as many as a managed HSM takes: make a new key."
        raise ConflictError(detail, code="version_limit", facts={"limit": limit})


def _kind_violations(target: Target, kind: KeyKind, policy: KeyPolicy) -> list[Violation]:
    tier = TIERS[target]
    place = target.value.replace("_", " ")
    if kind.family is KeyFamily.EC:
        curves = tier.curves + tuple(curve for curve in tier.optional_curves if curve in policy.optional_curves)
        if kind.curve in curves:
            return []
        added = " The group's policy can add it." if kind.curve in tier.optional_curves else ""
        return [Violation("curve", f"The curve is not allowed here ({place}): {', '.join(curves)} are.{added}")]
    sizes = tier.rsa_sizes if kind.family is KeyFamily.RSA else tier.aes_sizes
    if not sizes:
        return [Violation("type", f"{kind.family.value} keys are not allowed here ({place}).")]
    if kind.size not in sizes:
        allowed = ", ".join(map(str, sizes))
        return [Violation("size", f"The size is not allowed here ({place}): {allowed} bits are.")]
    return []


def _operation_violations(target: Target, kind: KeyKind, operations: tuple[str, ...]) -> list[Violation]:
    if target is Target.SOURCE:
        field, allowed = "permissions", PERMISSIONS[kind.family]
    else:
        field, allowed = "operations", OPERATIONS[kind.family]
        hardware = protection_of(target) is Protection.HSM
        if operations == IMPORT_ONLY and kind.family is KeyFamily.RSA and hardware:
            return []
        if not operations:
            return [Violation(field, f"A key needs at least one operation: {', '.join(allowed)} are allowed.")]
    unknown = sorted(set(operations) - set(allowed))
    if not unknown:
        return []
    detail = f"{', '.join(unknown)}: not for keys of type {kind.family.value} here; {', '.join(allowed)} are."
    return [Violation(field, detail)]


def _refusal(found: tuple[Violation, ...]) -> PolicyViolationError:
    return PolicyViolationError(
        found[0].detail,
        code="key_not_allowed",
        field=found[0].field,
        facts={"violations": [{"field": one.field, "detail": one.detail} for one in found]},
    )
