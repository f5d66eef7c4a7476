"""Groups: keys that share a connection, policies and members."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from core.domain.callers import Actor
from core.domain.connections import Connection, ConnectionReport, VaultFacts
from core.domain.drills import DrillSettings, LastDrill
from core.domain.key_kinds import KeyPolicy
from core.errors import ConflictError


class GroupKind(StrEnum):
    """`SOURCE`: Keysteward holds the material. `AZURE`: one vault or managed HSM holds it."""

    SOURCE = "source"
    AZURE = "azure"


@dataclass(frozen=True, slots=True)
class SyncSchedule:
    """When a group syncs by itself.

    `cron` has five fields and is read in `time_zone` (IANA name). `full_every_days`: how often a scheduled sync
    looks at every version of every key, because Azure's key list does not show a change of an older version.
    """

    cron: str = "0 2 * * *"
    time_zone: str = "UTC"
    full_every_days: int = 7
    paused: bool = False


@dataclass(frozen=True, slots=True)
class EscrowSettings:
    """Whether keys are escrowed, and how many generations of each key stay (the newest always does)."""

    enabled: bool = True
    keep_generations: int = 3


@dataclass(frozen=True, slots=True)
class KeyCounts:
    """Keys by state as of `counted_on`; states move with time alone, so the date is part of the answer."""

    pre_active: int = 0
    active: int = 0
    deactivated: int = 0
    soft_deleted: int = 0
    purged: int = 0
    destroyed: int = 0
    counted_on: datetime | None = None


class ConnectionState(StrEnum):
    """What the last contact with the vault showed. A source group is always `NOT_APPLICABLE`."""

    CONNECTED = "connected"
    NOT_CONNECTED = "not_connected"
    UNTESTED = "untested"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, slots=True)
class LastSync:
    """The latest ended sync of a group."""

    job: str
    status: str
    ended_on: datetime


@dataclass(frozen=True, slots=True)
class Group:
    """A group as recorded. `connection` and `vault` are None in a source group.

    Subscription and vault never change once set; everything else of the connection may. `label` begins the display
    names of keys that nobody named; it is unique in the account.
    """

    id: str
    account: str
    kind: GroupKind
    title: str
    created_by: Actor
    created_on: datetime
    updated_on: datetime
    description: str = ""
    connection: Connection | None = None
    vault: VaultFacts | None = None
    report: ConnectionReport | None = None
    schedule: SyncSchedule = SyncSchedule()
    escrow: EscrowSettings = EscrowSettings()
    next_sync_on: datetime | None = None
    last_full_sync_on: datetime | None = None
    last_sync: LastSync | None = None
    counts: KeyCounts = field(default_factory=KeyCounts)
    key_policy: KeyPolicy = field(default_factory=KeyPolicy)
    label: str = ""
    drill: DrillSettings = field(default_factory=DrillSettings)
    next_drill_on: datetime | None = None
    last_drill: LastDrill | None = None

    @property
    def key_label(self) -> str:
        """What display names begin with: the label or, in a group linked before there were labels, the vault's name."""
        return self.label or (self.vault.name if self.vault else "")

    @property
    def connection_state(self) -> ConnectionState:
        """Derived from the last report."""
        if self.kind is GroupKind.SOURCE:
            return ConnectionState.NOT_APPLICABLE
        if self.report is None:
            return ConnectionState.UNTESTED
        return ConnectionState.CONNECTED if self.report.connected else ConnectionState.NOT_CONNECTED


def vault_of(group: Group) -> VaultFacts:
    """Return an Azure group's vault; ConflictError `group_kind` for a source group, `vault_not_selected` without."""
    require_kind(group, GroupKind.AZURE)
    if group.vault is None:
        raise ConflictError("Select a vault for the group first.", code="vault_not_selected")
    return group.vault


def require_kind(group: Group, kind: GroupKind) -> None:
    """Raise ConflictError `group_kind` unless the group is of this kind."""
    if group.kind is not kind:
        held_by = "Keysteward holds" if group.kind is GroupKind.SOURCE else "a vault holds"
        raise ConflictError(f"This is not offered for a group whose keys {held_by}.", code="group_kind")
