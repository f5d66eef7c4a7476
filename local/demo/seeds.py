"""What the vaults of the demo hold before Keysteward sees them, and which states it has to find.

Invariant: `state` is what the dates and flags of a seed mean by Azure's rules, so that the demo can check every count.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

_DAY = 86_400
_PROD = {"env": "prod", "owner": "payments"}


@dataclass(frozen=True, slots=True)
class Seed:
    """Keys of one kind: `members` are those of the emulator's bulk seeding beside `name` and `count`."""

    name: str
    count: int
    members: dict[str, Any]
    state: str = "active"

    def body(self) -> dict[str, Any]:
        """Return it for the control API."""
        return {"name": self.name, "count": self.count, **self.members}


@dataclass(frozen=True, slots=True)
class SeededVault:
    """A vault to make, the access that Keysteward's application gets on it, and its keys."""

    name: str
    title: str
    sku: str
    grant: tuple[str, ...]
    seeds: tuple[Seed, ...]
    rbac: bool = False
    missing: frozenset[str] = field(default=frozenset())

    @property
    def states(self) -> Counter[str]:
        """Keys by the state that Keysteward has to find."""
        found: Counter[str] = Counter()
        for seed in self.seeds:
            found[seed.state] += seed.count
        return found

    @property
    def total(self) -> int:
        """All keys, soft-deleted ones included."""
        return self.states.total()

    @property
    def live(self) -> int:
        """The keys that can be backed up."""
        return self.total - self.states["soft-deleted"]


PAYMENTS = SeededVault(
    name="payments",
    title="Payments",
    sku="premium",
    # Keysteward makes keys here and escrows them; somebody else purges.
    grant=("get", "list", "update", "create", "import", "delete", "recover", "backup", "restore"),
    missing=frozenset({"purge"}),
    seeds=(
        Seed("card-token", 120, {"kty": "EC-HSM", "tags": _PROD}),
        Seed("settlement", 24, {"kty": "RSA-HSM", "versions": 3, "tags": _PROD}),
        Seed("settlement-root", 1, {"kty": "RSA-HSM", "size": 3072, "versions": 3, "distinct_material": True}),
        Seed("ledger-signing", 20, {"kty": "RSA", "versions": 2}),
        Seed("terminal", 18, {"kty": "EC-HSM", "enabled": False}, "deactivated"),
        Seed(
            "acquirer-old",
            16,
            {"kty": "EC", "created_offset": -400 * _DAY, "expires_offset": -30 * _DAY},
            "deactivated",
        ),
        Seed("acquirer-next", 10, {"kty": "EC-HSM", "not_before_offset": 14 * _DAY}, "pre-active"),
        Seed("old-gateway", 8, {"kty": "EC", "deleted": True, "deleted_offset": -5 * _DAY}, "soft-deleted"),
    ),
)
WEBSHOP = SeededVault(
    name="webshop",
    title="Web shop",
    sku="standard",
    grant=("Key Vault Crypto Officer",),
    rbac=True,
    seeds=(
        Seed("session", 60, {"kty": "EC", "tags": {"env": "prod"}}),
        Seed("invoice-signing", 12, {"kty": "RSA", "versions": 4, "expires_offset": 20 * _DAY}),
        Seed("newsletter", 10, {"kty": "EC", "curve": "P-521", "enabled": False}, "deactivated"),
        Seed("voucher", 6, {"kty": "EC", "deleted": True}, "soft-deleted"),
    ),
)
ROOTS = SeededVault(
    name="roots",
    title="Roots of trust",
    sku="managed_hsm",
    grant=("Managed HSM Crypto User", "Managed HSM Crypto Officer"),
    seeds=(
        Seed("tenant-wrap", 16, {"kty": "oct-HSM"}),
        Seed("ca-root", 6, {"kty": "RSA-HSM", "versions": 2}),
        Seed("code-signing", 5, {"kty": "EC-HSM", "curve": "P-384", "enabled": False}, "deactivated"),
        Seed("retired-root", 2, {"kty": "oct-HSM", "deleted": True}, "soft-deleted"),
    ),
)
VAULTS = (PAYMENTS, WEBSHOP, ROOTS)


def keys_that(holds: Callable[[Seed], bool], vaults: Iterable[SeededVault] = VAULTS) -> int:
    """Return how many keys of `vaults` come from a seed for which `holds` is true."""
    return sum(seed.count for vault in vaults for seed in vault.seeds if holds(seed))
