"""What is being done to a key at the moment: in its record before the vault is asked, cleared with the outcome.

Invariants: a key has one pending action at most, so two never meet in the vault; what a crash leaves pending is found
by its place in the tree of open actions, looked at in the vault, and either recorded or withdrawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from core.domain.callers import Actor
from core.domain.key_kinds import KeyKind

#: A request lives for 230 s at most; what is older and has no job was left over.
LEFT_OVER_AFTER = timedelta(minutes=5)
#: What is pending for longer is for somebody to look at.
UNFINISHED_AFTER = timedelta(hours=1)


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
class AskedSource:
    """The version of a source key whose material a version in a vault is to have."""

    group: str
    key: str
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class AskedVersion:
    """What is needed to know a version again that a vault was asked to make once, and to record it.

    It is none of `known` (those made from `since` on that there were), and what the vault was asked for: by
    `thumbprint` where the material is ours and has a public half. `brought`: the material did not come from the vault.
    `retire` is the version that it supersedes, to be disabled after `grace`. The dates are set once more where the
    request that makes the version could not name them.
    """

    type: str
    kind: KeyKind
    operations: tuple[str, ...]
    since: datetime
    known: tuple[str, ...] = ()
    thumbprint: str | None = None
    brought: bool = False
    source: AskedSource | None = None
    retire: str | None = None
    grace: timedelta = timedelta()
    not_before: datetime | None = None
    expires_on: datetime | None = None


@dataclass(frozen=True, slots=True)
class PendingAction:
    """One action under way. `details` is what is needed to know its outcome in the vault and to record it.

    `asked` is so, too, where the action makes a version.
    """

    id: str
    action: KeyAction
    actor: Actor
    started_on: datetime
    details: Mapping[str, str] = field(default_factory=dict)
    asked: AskedVersion | None = None

    def left_over(self, now: datetime) -> bool:
        """Whether the request that wrote it must have ended. One from the future came before the clock was set back."""
        return abs(now - self.started_on) > LEFT_OVER_AFTER


@dataclass(frozen=True, slots=True)
class Deactivation:
    """Why and by whom a key was disabled through Keysteward, and which of its versions were enabled until then."""

    on: datetime
    by: Actor
    reason: str
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Retirement:
    """A version that is going to be disabled when the grace period after a rotation ends.

    `version` is Azure's id or, of a source key, its number.
    """

    version: str
    on: datetime
    by: Actor
