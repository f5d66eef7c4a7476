"""One key on the wire, with its versions, escrow generations, drift and history. No material of any kind."""

from datetime import datetime
from typing import Self

from core.domain.groups import ConnectionState, Group
from core.domain.keys import DriftKind, KeyOrigin, KeyState, KeyVersion, Validity, VirtualKey, state_at
from functions.models.base import AnswerModel, Page
from functions.models.jobs import ActorAnswer

#: How many of the newest versions, drifts and history entries a detail holds; the rest has lists of its own.
SHOWN = 50


class PublicKeyAnswer(AnswerModel):
    """The public half as JWK members; `thumbprint` is the SHA-256 thumbprint of RFC 7638."""

    n: str | None
    e: str | None
    curve: str | None
    x: str | None
    y: str | None
    thumbprint: str | None


class VersionAnswer(AnswerModel):
    """A version as the vault showed it, numbered from 1 by age. `kid` is its full id in Azure."""

    id: str
    number: int
    kid: str | None
    state: KeyState
    enabled: bool
    not_before: datetime | None
    expires_on: datetime | None
    created_on: datetime
    updated_on: datetime
    type: str
    size: int | None
    operations: tuple[str, ...]
    tags: dict[str, str]
    exportable: bool
    managed: bool
    public_key: PublicKeyAnswer

    @classmethod
    def shown(cls, key: VirtualKey, version: KeyVersion, number: int, group: Group, now: datetime) -> Self:
        """Show a version of `key` as of `now`."""
        return cls(
            id=version.id,
            number=number,
            kid=f"{group.vault.uri}/keys/{key.azure_name}/{version.id}" if group.vault else None,
            state=state_at(key.presence, version.validity, now),
            enabled=version.validity.enabled,
            not_before=version.validity.not_before,
            expires_on=version.validity.expires_on,
            created_on=version.created_on,
            updated_on=version.updated_on,
            type=version.type,
            size=version.size,
            operations=version.operations,
            tags=dict(version.tags),
            exportable=version.exportable,
            managed=version.managed,
            public_key=PublicKeyAnswer.of(version.public_key),
        )


class VersionPage(Page[VersionAnswer]):
    """A key's versions, newest first."""


class GenerationAnswer(AnswerModel):
    """An escrowed backup; `digest` is the SHA-256 of the entry in the archive, hex."""

    id: str
    archive: str
    length: int
    digest: str
    versions: tuple[str, ...]
    created_on: datetime
    verified_on: datetime


class GenerationPage(Page[GenerationAnswer]):
    """A key's escrow generations, newest first."""


class DriftAnswer(AnswerModel):
    """A change made outside Keysteward, with before and after, and the sync that found it."""

    kind: DriftKind
    observed_on: datetime
    job: str
    before: str | None
    after: str | None
    version: str | None


class DriftPage(Page[DriftAnswer]):
    """Changes made outside Keysteward, newest first."""


class HistoryAnswer(AnswerModel):
    """What happened to a key, by whom, when."""

    on: datetime
    event: str
    actor: ActorAnswer
    detail: str


class HistoryPage(Page[HistoryAnswer]):
    """A key's history, newest first."""


class KeyGroupAnswer(AnswerModel):
    """The key's group, and whether it is connected."""

    id: str
    title: str
    connection: ConnectionState


class DeletionAnswer(AnswerModel):
    """When the vault deleted the key, and when it will purge it by itself."""

    deleted_on: datetime | None
    scheduled_purge_on: datetime | None


class KeyAnswer(AnswerModel):
    """A key with everything that is recorded of it. Lists in it are the newest; each has a page of its own."""

    id: str
    kind: str
    name: str
    azure_name: str
    group: KeyGroupAnswer
    state: KeyState
    state_on: datetime
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
    tags: dict[str, str]
    deletion: DeletionAnswer | None
    versions: tuple[VersionAnswer, ...]
    versions_total: int
    escrow: tuple[GenerationAnswer, ...]
    escrow_pending: bool
    escrow_problem: str | None
    drift: tuple[DriftAnswer, ...]
    drift_total: int
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
            kind="virtual",
            name=key.name,
            azure_name=key.azure_name,
            group=KeyGroupAnswer(id=group.id, title=group.title, connection=group.connection_state),
            state=state_at(key.presence, validity, now),
            state_on=now,
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
            tags=dict(current.tags) if current else {},
            deletion=DeletionAnswer.of(key.deletion) if key.deletion else None,
            versions=tuple(
                VersionAnswer.shown(key, version, number, group, now)
                for number, version in list(enumerate(key.versions, 1))[::-1][:SHOWN]
            ),
            versions_total=len(key.versions),
            escrow=tuple(GenerationAnswer.of(each) for each in reversed(key.escrow)),
            escrow_pending=_escrow_pending(key),
            escrow_problem=key.escrow_problem,
            drift=tuple(DriftAnswer.of(each) for each in key.drift[::-1][:SHOWN]),
            drift_total=len(key.drift),
            history=tuple(HistoryAnswer.of(each) for each in key.history[::-1][:SHOWN]),
            history_total=len(key.history),
        )


def _escrow_pending(key: VirtualKey) -> bool:
    covered = set(key.escrow[-1].versions) if key.escrow else set()
    return not {version.id for version in key.versions} <= covered
