"""Groups on the wire."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field

from core.domain.connection_drafts import KEEP
from core.domain.drills import DrillSettings
from core.domain.group_drafts import GroupChanges, NewGroup
from core.domain.groups import ConnectionState, EscrowSettings, Group, GroupKind, SyncSchedule
from core.domain.key_kinds import KeyPolicy
from core.errors import ConflictError
from functions.models.base import AnswerModel, Description, Page, RequestModel, Title
from functions.models.connection_answers import ConnectionAnswer, ReportAnswer, VaultAnswer
from functions.models.connections import ConnectionModel, ConnectionPatch, ResourceId
from functions.models.drills import DrillAnswer, DrillModel, LastDrillAnswer
from functions.models.jobs import ActorAnswer

_SCHEDULE = SyncSchedule()
_ESCROW = EscrowSettings()
_DRILL = DrillSettings()


class ScheduleModel(RequestModel):
    """When a group syncs by itself. In a change, what is left out stays."""

    cron: Annotated[str, Field(min_length=9, max_length=100, description="Five fields.", examples=["0 2 * * *"])] = (
        _SCHEDULE.cron
    )
    time_zone: Annotated[str, Field(min_length=1, max_length=64, examples=["Europe/Zurich"])] = _SCHEDULE.time_zone
    full_every_days: int = _SCHEDULE.full_every_days
    paused: bool = _SCHEDULE.paused

    def applied_to(self, present: SyncSchedule) -> SyncSchedule:
        """Return `present` with what is given."""
        return replace(present, **self.model_dump(exclude_unset=True))


class EscrowModel(RequestModel):
    """Whether keys are escrowed, and how many generations of each stay. In a change, what is left out stays."""

    enabled: bool = _ESCROW.enabled
    keep_generations: int = _ESCROW.keep_generations

    def applied_to(self, present: EscrowSettings) -> EscrowSettings:
        """Return `present` with what is given."""
        return replace(present, **self.model_dump(exclude_unset=True))


class KeyPolicyModel(RequestModel):
    """What the group adds to the keys that its tier allows: P-256K on premium vaults, which Azure accepts there."""

    optional_curves: Annotated[tuple[Literal["P-256K"], ...], Field(max_length=1)] = ()

    def policy(self) -> KeyPolicy:
        """Return it for the services."""
        return KeyPolicy(self.optional_curves)


class GroupDraft(RequestModel):
    """A new group. An Azure group needs a connection; its vault (an ARM resource id) may be selected afterwards."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "azure",
                    "title": "Payments, west Europe",
                    "connection": {
                        "tenant_id": "72f988bf-86f1-41af-91ab-2d7cd011db47",
                        "client_id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
                        "subscription_id": "5f3e7a9c-6b1d-4c8e-9a2b-1d0f8e7c6b5a",
                        "credential": {"kind": "client_secret", "secret": "the secret's value"},
                    },
                }
            ]
        }
    )

    kind: GroupKind
    title: Title
    description: Description = ""
    connection: ConnectionModel | None = None
    vault: ResourceId | None = None
    schedule: ScheduleModel = ScheduleModel()
    escrow: EscrowModel = EscrowModel()
    key_policy: KeyPolicyModel = KeyPolicyModel()
    drill: DrillModel = DrillModel()

    def new(self) -> NewGroup:
        """Return it for the services."""
        return NewGroup(
            kind=self.kind,
            title=self.title,
            description=self.description,
            connection=self.connection.draft() if self.connection else None,
            vault=self.vault,
            schedule=self.schedule.applied_to(_SCHEDULE),
            escrow=self.escrow.applied_to(_ESCROW),
            key_policy=self.key_policy.policy(),
            drill=self.drill.applied_to(_DRILL),
        )


class GroupPatch(RequestModel):
    """What to change; what is left out stays. Cloud, subscription and vault are accepted only as they are."""

    title: Title | None = None
    description: Description | None = None
    connection: ConnectionPatch | None = None
    vault: ResourceId | None = None
    schedule: ScheduleModel | None = None
    escrow: EscrowModel | None = None
    key_policy: KeyPolicyModel | None = None
    drill: DrillModel | None = None

    def changes(self, present: Group) -> GroupChanges:
        """Return the changes of `present` for the services; ConflictError `group_kind`."""
        changes = GroupChanges()
        if self.connection is not None and present.connection is not None:
            changes = self.connection.changes(present.connection)
        elif self.connection is not None:
            raise ConflictError("A source group has no connection.", code="group_kind", field="connection")
        return replace(
            changes,
            title=KEEP if self.title is None else self.title,
            description=KEEP if self.description is None else self.description,
            schedule=self.schedule.applied_to(present.schedule) if self.schedule else KEEP,
            escrow=self.escrow.applied_to(present.escrow) if self.escrow else KEEP,
            key_policy=self.key_policy.policy() if self.key_policy else KEEP,
            drill=self.drill.applied_to(present.drill) if self.drill else KEEP,
            vault=self.vault or KEEP,
        )


class VaultSelection(RequestModel):
    """The vault of a group, by ARM resource id; one of those that a test of the connection lists."""

    resource_id: ResourceId


class ScheduleAnswer(AnswerModel):
    """When a group syncs by itself."""

    cron: str
    time_zone: str
    full_every_days: int
    paused: bool


class EscrowAnswer(AnswerModel):
    """Whether keys are escrowed, and how many generations of each stay."""

    enabled: bool
    keep_generations: int


class KeyPolicyAnswer(AnswerModel):
    """What the group adds to the keys that its tier allows."""

    optional_curves: tuple[str, ...]


class CountsAnswer(AnswerModel):
    """Keys by state as of `counted_on`."""

    pre_active: int
    active: int
    deactivated: int
    soft_deleted: int
    purged: int
    destroyed: int
    counted_on: datetime | None


class LastSyncAnswer(AnswerModel):
    """The latest ended sync."""

    job: str
    status: str
    ended_on: datetime


class GroupItem(AnswerModel):
    """A group as lists show it. `external`: a vault holds its keys."""

    id: str
    kind: GroupKind
    external: bool
    title: str
    description: str
    connection_state: ConnectionState
    vault: VaultAnswer | None
    last_sync: LastSyncAnswer | None
    next_sync_on: datetime | None
    counts: CountsAnswer

    @classmethod
    def shown(cls, group: Group) -> Self:
        """Show a group."""
        return cls(
            id=group.id,
            kind=group.kind,
            external=group.kind is GroupKind.AZURE,
            title=group.title,
            description=group.description,
            connection_state=group.connection_state,
            vault=VaultAnswer.of(group.vault) if group.vault else None,
            last_sync=LastSyncAnswer.of(group.last_sync) if group.last_sync else None,
            next_sync_on=group.next_sync_on,
            counts=CountsAnswer.of(group.counts),
        )


class GroupPage(Page[GroupItem]):
    """Groups that the caller sees, by id."""


class GroupAnswer(GroupItem):
    """A group with its connection and the latest test of it. Names of keys that nobody named begin with `key_label`."""

    connection: ConnectionAnswer | None
    report: ReportAnswer | None
    schedule: ScheduleAnswer
    escrow: EscrowAnswer
    key_policy: KeyPolicyAnswer
    key_label: str
    last_full_sync_on: datetime | None
    drill: DrillAnswer
    next_drill_on: datetime | None
    last_drill: LastDrillAnswer | None
    created_by: ActorAnswer
    created_on: datetime
    updated_on: datetime

    @classmethod
    def whole(cls, group: Group) -> Self:
        """Show a group with everything."""
        return cls(
            **dict(GroupItem.shown(group)),
            connection=ConnectionAnswer.shown(group.connection) if group.connection else None,
            report=ReportAnswer.shown(group.report) if group.report else None,
            schedule=ScheduleAnswer.of(group.schedule),
            escrow=EscrowAnswer.of(group.escrow),
            key_policy=KeyPolicyAnswer.of(group.key_policy),
            key_label=group.key_label,
            last_full_sync_on=group.last_full_sync_on,
            drill=DrillAnswer.of(group.drill),
            next_drill_on=group.next_drill_on,
            last_drill=LastDrillAnswer.of(group.last_drill) if group.last_drill else None,
            created_by=ActorAnswer.of(group.created_by),
            created_on=group.created_on,
            updated_on=group.updated_on,
        )
