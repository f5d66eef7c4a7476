"""One key on the wire, virtual or source, with its versions, escrow, drift, history and links; never material."""

from datetime import datetime
from typing import Literal, Self

from core.domain.groups import ConnectionState, Group
from core.domain.keys import Condition, KeyClass, KeyOrigin, KeyState, Validity, VirtualKey, condition_at, state_at
from core.domain.pending_actions import KeyAction
from core.domain.source_keys import SourceKey
from core.domain.summaries import summary_of_source
from functions.models.base import AnswerModel
from functions.models.jobs import ActorAnswer
from functions.models.key_parts import (
    CopiedFromAnswer,
    CopyAnswer,
    DriftAnswer,
    DriftReviewAnswer,
    GenerationAnswer,
    HistoryAnswer,
    VaultRotationAnswer,
)
from functions.models.key_versions import VersionAnswer
from functions.models.rotations import RetirementAnswer, RotationScheduleAnswer

#: How many of the newest versions, drifts, copies and history entries a detail holds; the rest has lists of its own.
SHOWN = 50


class KeyGroupAnswer(AnswerModel):
    """The key's group, and whether it is connected."""

    id: str
    title: str
    connection: ConnectionState


class DeletionAnswer(AnswerModel):
    """When the vault deleted the key, and when it will purge it by itself."""

    deleted_on: datetime | None
    scheduled_purge_on: datetime | None


class PendingAnswer(AnswerModel):
    """An action on the key that is under way."""

    action: KeyAction
    actor: ActorAnswer
    started_on: datetime


class DeactivationAnswer(AnswerModel):
    """Why the key was disabled through Keysteward."""

    on: datetime
    by: ActorAnswer
    reason: str


class KeyAnswer(AnswerModel):
    """A key with everything that is recorded of it. Lists in it are the newest; each has a page of its own.

    `drifted`: there is drift at which nobody has looked. `vault_rotation` is read of keys with material of ours.
    `operations` are those of a key in a vault, `permissions` those of a source key.
    """

    id: str
    kind: KeyClass
    name: str
    azure_name: str | None
    group: KeyGroupAnswer
    state: KeyState
    state_on: datetime
    state_reason: Literal["disabled", "expired"] | None
    deactivation: DeactivationAnswer | None
    pending: PendingAnswer | None
    origin: KeyOrigin
    created_by: ActorAnswer
    recorded_on: datetime
    observed_on: datetime
    resource_id: str | None
    kid: str | None
    type: str | None
    size: int | None
    curve: str | None
    enabled: bool | None
    not_before: datetime | None
    expires_on: datetime | None
    operations: tuple[str, ...]
    permissions: tuple[str, ...] | None
    tags: dict[str, str]
    copied_from: CopiedFromAnswer | None
    copies: tuple[CopyAnswer, ...]
    copies_total: int
    deletion: DeletionAnswer | None
    versions: tuple[VersionAnswer, ...]
    versions_total: int
    escrow: tuple[GenerationAnswer, ...]
    escrow_pending: bool
    escrow_problem: str | None
    drift: tuple[DriftAnswer, ...]
    drift_total: int
    drifted: bool
    drift_review: DriftReviewAnswer | None
    vault_rotation: VaultRotationAnswer | None
    rotation_schedule: RotationScheduleAnswer | None
    retirements: tuple[RetirementAnswer, ...]
    history: tuple[HistoryAnswer, ...]
    history_total: int

    @classmethod
    def shown(cls, key: VirtualKey, group: Group, now: datetime) -> Self:
        """Show a key as of `now`."""
        current = key.current
        validity = current.validity if current else Validity()
        vault = group.vault
        return cls(
            id=key.id,
            kind=KeyClass.VIRTUAL,
            name=key.name,
            azure_name=key.azure_name,
            group=KeyGroupAnswer(id=group.id, title=group.title, connection=group.connection_state),
            state=state_at(key.presence, validity, now),
            state_on=now,
            state_reason=_reason(condition_at(key.presence, validity, now)),
            deactivation=DeactivationAnswer.of(key.deactivation) if key.deactivation else None,
            pending=PendingAnswer.of(key.pending) if key.pending else None,
            origin=key.origin,
            created_by=ActorAnswer.of(key.created_by),
            recorded_on=key.recorded_on,
            observed_on=key.observed_on,
            resource_id=f"{vault.resource_id}/keys/{key.azure_name}" if vault else None,
            kid=f"{vault.uri}/keys/{key.azure_name}" if vault else None,
            type=current.type if current else None,
            size=current.size if current else None,
            curve=current.public_key.curve if current else None,
            enabled=validity.enabled if current else None,
            not_before=validity.not_before,
            expires_on=validity.expires_on,
            operations=current.operations if current else (),
            permissions=None,
            tags=dict(current.tags) if current else {},
            copied_from=CopiedFromAnswer.of_virtual(key),
            copies=(),
            copies_total=0,
            deletion=DeletionAnswer.of(key.deletion) if key.deletion else None,
            versions=tuple(
                VersionAnswer.shown(key, version, number, group, now)
                for number, version in list(enumerate(key.versions, 1))[::-1][:SHOWN]
            ),
            versions_total=len(key.versions),
            escrow=tuple(GenerationAnswer.of(each) for each in reversed(key.escrow)),
            escrow_pending=bool(key.unescrowed),
            escrow_problem=key.escrow_problem,
            drift=tuple(DriftAnswer.of(each) for each in key.drift[::-1][:SHOWN]),
            drift_total=len(key.drift),
            drifted=key.drifted,
            drift_review=DriftReviewAnswer.of(key.drift_review) if key.drift_review else None,
            vault_rotation=VaultRotationAnswer.of(key.vault_rotation) if key.vault_rotation else None,
            rotation_schedule=RotationScheduleAnswer.shown(key.schedule) if key.schedule else None,
            retirements=tuple(RetirementAnswer.of(each) for each in key.retirements),
            history=tuple(HistoryAnswer.of(each) for each in key.history[::-1][:SHOWN]),
            history_total=len(key.history),
        )

    @classmethod
    def of_source(cls, key: SourceKey, group: Group, now: datetime) -> Self:
        """Show a source key as of `now`."""
        current = key.current
        link = key.copied_from
        return cls(
            id=key.id,
            kind=KeyClass.SOURCE,
            name=key.name,
            azure_name=None,
            group=KeyGroupAnswer(id=group.id, title=group.title, connection=group.connection_state),
            state=key.state(now),
            state_on=now,
            state_reason=_reason(condition_at(key.presence, current.validity, now)),
            deactivation=DeactivationAnswer.of(key.deactivation) if key.deactivation else None,
            pending=None,
            origin=summary_of_source(key).origin,
            created_by=ActorAnswer.of(key.created_by),
            recorded_on=key.created_on,
            observed_on=now,
            resource_id=None,
            kid=None,
            type=key.kind.family.value,
            size=key.kind.size,
            curve=key.kind.curve,
            enabled=current.validity.enabled,
            not_before=current.validity.not_before,
            expires_on=current.validity.expires_on,
            operations=(),
            permissions=key.permissions,
            tags=dict(key.tags),
            copied_from=CopiedFromAnswer.shown(link, material_matches=True) if link else None,
            copies=tuple(CopyAnswer.of(copy) for copy in key.copies[::-1][:SHOWN]),
            copies_total=len(key.copies),
            deletion=None,
            versions=tuple(VersionAnswer.of_source(key, one, now) for one in key.versions[::-1][:SHOWN]),
            versions_total=len(key.versions),
            escrow=(),
            escrow_pending=False,
            escrow_problem=None,
            drift=(),
            drift_total=0,
            drifted=False,
            drift_review=None,
            vault_rotation=None,
            rotation_schedule=RotationScheduleAnswer.shown(key.schedule) if key.schedule else None,
            retirements=tuple(RetirementAnswer.of(each) for each in key.retirements),
            history=tuple(HistoryAnswer.of(each) for each in key.history[::-1][:SHOWN]),
            history_total=len(key.history),
        )


def _reason(condition: Condition) -> Literal["disabled", "expired"] | None:
    """Which of the two makes a key deactivated."""
    if condition is Condition.DISABLED:
        return "disabled"
    return "expired" if condition is Condition.EXPIRED else None
