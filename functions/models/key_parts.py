"""What belongs to a key, on the wire: escrow generations, drift, history, and links between copies."""

from datetime import datetime
from typing import Self

from core.domain.drift import DriftKind
from core.domain.keys import CopiedFrom, VirtualKey
from functions.models.base import AnswerModel, Page
from functions.models.jobs import ActorAnswer


class GenerationAnswer(AnswerModel):
    """An escrowed backup; `digest` is the SHA-256 of the entry in the archive, hex.

    `broken` is the code with which a drill failed on it, null where none did.
    """

    id: str
    archive: str
    length: int
    digest: str
    versions: tuple[str, ...]
    created_on: datetime
    verified_on: datetime
    broken: str | None


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


class DriftReviewAnswer(AnswerModel):
    """Who looked at the drift that was observed up to `up_to`, when, and what was noted."""

    on: datetime
    by: ActorAnswer
    up_to: datetime
    note: str


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


class VaultRotationAnswer(AnswerModel):
    """The vault's own rotation policy, as it was read last; not `known` where the vault did not tell.

    Times are ISO 8601 durations.
    """

    read_on: datetime
    known: bool
    rotates: bool
    rotate_after_creation: str | None
    rotate_before_expiry: str | None
    expires_after: str | None


class CopiedFromAnswer(AnswerModel):
    """The source key of a copy. `material_matches`: whether the copy's current version is material of that key."""

    group: str
    key: str
    name: str
    copied_by: ActorAnswer
    copied_on: datetime
    source_version: int | None
    material_matches: bool

    @classmethod
    def shown(cls, link: CopiedFrom, *, material_matches: bool) -> Self:
        """Show a link."""
        return cls(
            group=link.group,
            key=link.key,
            name=link.name,
            copied_by=ActorAnswer.of(link.copied_by),
            copied_on=link.copied_on,
            source_version=link.latest.source_version if link.latest else None,
            material_matches=material_matches,
        )

    @classmethod
    def of_virtual(cls, key: VirtualKey) -> Self | None:
        """Show the link of a virtual key, if it has one."""
        return cls.shown(key.copied_from, material_matches=not key.material_differs) if key.copied_from else None


class CopyAnswer(AnswerModel):
    """A copy of a source key: where it is, and who copied it when."""

    group: str
    group_title: str
    key: str
    name: str
    azure_name: str | None
    source_version: int
    copied_by: ActorAnswer
    copied_on: datetime


class CopyPage(Page[CopyAnswer]):
    """A source key's copies, newest first, and the name that the next one gets if nobody gives one."""

    suggested_name: str
