"""Drift: what was changed outside Keysteward, and who has looked at it.

Invariant: what was observed stays as it was observed; a review says only up to when somebody has looked.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from core.domain.callers import Actor
from core.errors import InvalidRequestError

NOTE_LIMIT = 500


class DriftKind(StrEnum):
    """What changed outside Keysteward."""

    NEW_VERSION = "new_version"
    OPERATIONS = "operations"
    DATES = "dates"
    TAGS = "tags"
    ENABLED = "enabled"
    SOFT_DELETED = "soft_deleted"
    RECOVERED = "recovered"
    VANISHED = "vanished"
    RESTORED = "restored"
    VERSION_VANISHED = "version_vanished"
    MATERIAL = "material"
    RECREATED = "recreated"


@dataclass(frozen=True, slots=True)
class Drift:
    """One change made outside Keysteward, with before and after, as found by one sync."""

    kind: DriftKind
    observed_on: datetime
    job: str
    before: str | None
    after: str | None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class DriftReview:
    """Who looked at a key's drift, when, and at which: at all that was observed up to `up_to`."""

    on: datetime
    by: Actor
    up_to: datetime
    note: str = ""


def unreviewed(drift: tuple[Drift, ...], review: DriftReview | None) -> tuple[Drift, ...]:
    """Return the drift at which nobody has looked yet."""
    return drift if review is None else tuple(change for change in drift if change.observed_on > review.up_to)


def checked_note(text: str) -> str:
    """Return a note without surrounding space; InvalidRequestError `reason_invalid`."""
    note = text.strip()
    if len(note) > NOTE_LIMIT or not note.isprintable():
        detail = f"A note has at most {NOTE_LIMIT} printable characters."
        raise InvalidRequestError(detail, code="reason_invalid", field="note")
    return note
