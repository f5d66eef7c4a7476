"""What is asked for when a key is brought somewhere: its names and its settings, apart from its material."""

from dataclasses import dataclass, field
from datetime import datetime

from core.domain.callers import Actor
from core.domain.groups import Group
from core.domain.key_kinds import KeyKind, Protection
from core.domain.keys import Validity


@dataclass(frozen=True, slots=True)
class ReleasePolicy:
    """The policy under which Azure releases an exportable key; `data` is its JSON text."""

    data: str
    immutable: bool = False


@dataclass(frozen=True, slots=True)
class KeyNames:
    """The names that a key is to have; None leaves the choice to us.

    `reuse_purged` says that the Azure name of a purged key may be taken: that key can be restored here only when the
    new one has been purged.
    """

    name: str | None = None
    azure_name: str | None = None
    reuse_purged: bool = False


@dataclass(frozen=True, slots=True)
class KeySettings:
    """How a key is to be. None leaves the choice to the target's default (or, in a copy, to the source key).

    `operations` are Azure's words; `permissions` those of source keys.
    """

    protection: Protection | None = None
    operations: tuple[str, ...] | None = None
    permissions: tuple[str, ...] | None = None
    validity: Validity | None = None
    tags: tuple[tuple[str, str], ...] | None = None
    exportable: bool = False
    release_policy: ReleasePolicy | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that somebody wants in a group; `request` is the same for a repetition of the same request."""

    request: str
    group: Group
    names: KeyNames
    settings: KeySettings
    actor: Actor


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version as a vault is asked to make it: `type` is Azure's kty."""

    type: str
    kind: KeyKind
    operations: tuple[str, ...]
    validity: Validity = field(default_factory=Validity)
    tags: tuple[tuple[str, str], ...] = ()
    exportable: bool = False
    release_policy: ReleasePolicy | None = None


@dataclass(frozen=True, slots=True)
class VersionChanges:
    """What of a version changes in a vault; None stays. Azure moves a date, but never takes one away."""

    enabled: bool | None = None
    not_before: datetime | None = None
    expires_on: datetime | None = None
    operations: tuple[str, ...] | None = None
    tags: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """A vault's own rotation policy of a key: ISO 8601 durations, None where it has none."""

    rotate_after_creation: str | None = None
    rotate_before_expiry: str | None = None
    expires_after: str | None = None

    @property
    def rotates(self) -> bool:
        """Whether the vault makes new versions by itself."""
        return self.rotate_after_creation is not None or self.rotate_before_expiry is not None
