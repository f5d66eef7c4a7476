"""What is being done to a key at the moment: in its record before the vault is asked, cleared with the outcome.

Invariants: a key has one pending action at most, so two never meet in the vault; what a crash leaves pending is found
by its place in the tree of open actions, looked at in the vault, and either recorded or withdrawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from core.domain.callers import Actor

#: A request lives for 230 s at most; what is older and has no job was left over.
LEFT_OVER_AFTER = timedelta(minutes=5)


class KeyAction(StrEnum):
    """What can be done to a key that exists."""

    UPDATE = "update"
    DEACTIVATE = "deactivate"
    ACTIVATE = "activate"
    ROTATE = "rotate"
    SOFT_DELETE = "soft_delete"
    RECOVER = "recover"
    PURGE = "purge"
    RESTORE = "restore"
    REIMPORT = "reimport"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class PendingAction:
    """One action under way. `details` is what is needed to know its outcome in the vault and to record it."""

    id: str
    action: KeyAction
    actor: Actor
    started_on: datetime
    details: Mapping[str, str] = field(default_factory=dict)

    def left_over(self, now: datetime) -> bool:
        """Whether the request that wrote it must have ended."""
        return now - self.started_on > LEFT_OVER_AFTER


@dataclass(frozen=True, slots=True)
class Deactivation:
    """Why and by whom a key was disabled through Keysteward, and which of its versions were enabled until then."""

    on: datetime
    by: Actor
    reason: str
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Retirement:
    """A version that is going to be disabled when the grace period after a rotation ends."""

    version: str
    on: datetime
    by: Actor
