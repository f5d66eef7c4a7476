"""Records of keys: what a vault stores about a name, its versions and its deletion.

Times are whole seconds since the epoch on the resource clock. A key always has a version; the newest is the
last one added. Names compare case-insensitively but keep the case in which they were first written.
"""

from dataclasses import dataclass, field
from typing import Any

from local.emulator.keyvault.material import Material

ALL_RSA_OPERATIONS = ("encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey")
SIGNATURE_OPERATIONS = ("sign", "verify")
OCT_OPERATIONS = ("encrypt", "decrypt", "wrapKey", "unwrapKey", "sign", "verify", "deriveKey")
KEY_OPERATIONS = frozenset({*ALL_RSA_OPERATIONS, "import", "export", "deriveKey"})


@dataclass(slots=True)
class ReleasePolicy:
    """The rule under which an exportable key may leave: `data` is base64url JSON."""

    content_type: str
    data: str
    immutable: bool

    def wire(self) -> dict[str, Any]:
        """Return the member of a key bundle."""
        return {"contentType": self.content_type, "data": self.data, "immutable": self.immutable}


@dataclass(slots=True)
class KeyVersion:
    """One version of a key; `kty` is the wire name, with -HSM when an HSM holds it."""

    id: str
    kty: str
    material: Material
    key_ops: list[str]
    created: int
    updated: int
    enabled: bool = True
    not_before: int | None = None
    expires_on: int | None = None
    exportable: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    release_policy: ReleasePolicy | None = None
    managed: bool = False
    # Recovery level that list items were serialised under, their attributes and what follows; None after a change.
    item_cache: tuple[str, str, str] | None = None

    @property
    def hsm(self) -> bool:
        """Say whether an HSM holds the material."""
        return self.kty.endswith("-HSM")


@dataclass(slots=True)
class LifetimeAction:
    """What happens at a trigger; exactly one of the two ISO 8601 durations is set."""

    action: str
    time_after_create: str | None = None
    time_before_expiry: str | None = None


@dataclass(slots=True)
class RotationPolicy:
    """The rotation policy of a key; `expiry_time` is an ISO 8601 duration."""

    actions: list[LifetimeAction]
    expiry_time: str | None
    created: int
    updated: int


@dataclass(slots=True)
class Key:
    """A named key. Before `visible_at` a recovery still runs: reads do not find it, writes conflict."""

    name: str
    versions: dict[str, KeyVersion]
    rotation_policy: RotationPolicy | None = None
    visible_at: float = 0.0

    @property
    def newest(self) -> KeyVersion:
        """Return the version that requests without a version mean."""
        return self.versions[next(reversed(self.versions))]


@dataclass(slots=True)
class DeletedKey:
    """A soft-deleted key. Before `visible_at` the deletion still runs: reads do not find it, writes conflict."""

    key: Key
    deleted_on: int
    scheduled_purge_on: int
    visible_at: float
