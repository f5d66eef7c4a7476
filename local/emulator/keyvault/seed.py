"""Making many keys at once, past the wire and its limits, for tests, demos and benchmarks."""

import random
import secrets
import uuid
from dataclasses import dataclass, field
from functools import cache

from local.emulator.keyvault import params
from local.emulator.keyvault.errors import KeyVaultError, MalformedUriError
from local.emulator.keyvault.material import CURVES, RSA_SIZES, Family, Material, from_octets, generate_ec, generate_rsa
from local.emulator.keyvault.model import DeletedKey, Key, KeyVersion
from local.emulator.keyvault.names import check_name, fold
from local.emulator.keyvault.schedules import DAY_SECONDS
from local.emulator.keyvault.store import store_of
from local.emulator.world import Vault, World

_POOL_SIZE = 16
_RSA_POOL_SIZE = 2
_OCT_BITS = 256


@dataclass(frozen=True)
class KeySeed:
    """Keys to make: `name`, or with `count` above 1 `name-000000` and on, each with `versions` versions.

    `created_offset`, `not_before_offset`, `expires_offset` and `deleted_offset` are seconds from now on the
    resource clock. Versions are `version_interval` seconds apart, the newest created at `created_offset`;
    dates and `enabled` are those of the newest version. Without `distinct_material` key pairs come from a
    small pool, which makes thousands of keys in a second.
    """

    name: str
    count: int = 1
    kty: str = "EC"
    curve: str = "P-256"
    size: int = 2048
    versions: int = 1
    version_interval: int = DAY_SECONDS
    enabled: bool = True
    created_offset: int = 0
    not_before_offset: int | None = None
    expires_offset: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    key_ops: list[str] | None = None
    managed: bool = False
    deleted: bool = False
    deleted_offset: int = 0
    distinct_material: bool = False


def seed_keys(vault: Vault, world: World, specs: list[KeySeed]) -> None:
    """Make every key of `specs` in `vault`; nothing is made when any of them cannot be.

    Raises:
        ValueError: a name is malformed, taken or given twice, a count is not positive, or the vault cannot hold
            the type, size or curve.

    """
    try:
        _seed(vault, int(world.clock.now()), specs)
    except (KeyVaultError, MalformedUriError) as error:
        raise ValueError(str(error).strip()) from error


def _seed(vault: Vault, now: int, specs: list[KeySeed]) -> None:
    store = store_of(vault)
    live: list[Key] = []
    deleted: list[DeletedKey] = []
    seen: set[str] = set()
    for spec in specs:
        for name in _names(spec):
            check_name(vault, name)
            folded = fold(name)
            if folded in seen or folded in store.keys or folded in store.deleted:
                raise ValueError(f"the name {name} is taken")
            seen.add(folded)
            key = _key(vault, spec, name, now)
            if spec.deleted:
                deleted_on = now + spec.deleted_offset
                purge_on = deleted_on + vault.retention_days * DAY_SECONDS
                deleted.append(DeletedKey(key, deleted_on, purge_on, visible_at=0.0))
            else:
                live.append(key)
    store.add_all(live, deleted)


def _names(spec: KeySeed) -> list[str]:
    if spec.count < 1 or spec.versions < 1:
        raise ValueError("count and versions must be positive")
    if spec.count == 1:
        return [spec.name]
    return [f"{spec.name}-{index:06}" for index in range(spec.count)]


def _key(vault: Vault, spec: KeySeed, name: str, now: int) -> Key:
    kty, family = params.key_type(vault, spec.kty)
    versions: dict[str, KeyVersion] = {}
    for age in range(spec.versions - 1, -1, -1):
        created = now + spec.created_offset - age * spec.version_interval
        version = KeyVersion(
            id=uuid.uuid4().hex,
            kty=kty,
            material=_material(spec, family),
            key_ops=list(spec.key_ops) if spec.key_ops is not None else params.default_operations(family),
            created=created,
            updated=created,
            tags=dict(spec.tags),
            managed=spec.managed,
        )
        versions[version.id] = version
    version.enabled = spec.enabled
    version.not_before = now + spec.not_before_offset if spec.not_before_offset is not None else None
    version.expires_on = now + spec.expires_offset if spec.expires_offset is not None else None
    return Key(name, versions)


def _material(spec: KeySeed, family: Family) -> Material:
    if (family == "RSA" and spec.size not in RSA_SIZES) or (family == "EC" and spec.curve not in CURVES):
        raise ValueError("unknown size or curve")
    if spec.distinct_material:
        return _generate(family, spec.size, spec.curve)
    return random.choice(_pool(family, spec.size, spec.curve))  # noqa: S311 - spreads sample keys, decides nothing


@cache
def _pool(family: Family, size: int, curve: str) -> list[Material]:
    count = _RSA_POOL_SIZE if family == "RSA" else _POOL_SIZE
    return [_generate(family, size, curve) for _ in range(count)]


def _generate(family: Family, size: int, curve: str) -> Material:
    if family == "RSA":
        return generate_rsa(size)
    return generate_ec(curve) if family == "EC" else from_octets(secrets.token_bytes(_OCT_BITS // 8))
