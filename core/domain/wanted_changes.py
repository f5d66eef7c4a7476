"""What an action wants of a key's versions, kept with the pending action: whatever is cut off, the versions tell.

Invariant: an action is done if all of its versions are as it wants them, and half done if some are; that they changed
somehow says nothing.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from core.domain.drift import DriftKind
from core.domain.keys import KeyVersion
from core.domain.new_keys import VersionChanges
from core.domain.pending_actions import PendingAction


@dataclass(frozen=True, slots=True)
class WantedChanges:
    """Changes of versions (Azure's ids), and why; `retiring`: they were superseded by a rotation."""

    versions: tuple[str, ...]
    changes: VersionChanges
    reason: str = ""
    retiring: bool = False

    @property
    def event(self) -> str:
        """What history says when it is done."""
        if self.retiring:
            return "key.version_retired"
        if self.changes.enabled is None:
            return "key.updated"
        return "key.activated" if self.changes.enabled else "key.deactivated"

    @property
    def words(self) -> str:
        """What history says beside it."""
        return self.reason or ", ".join(self.versions if self.changes.enabled is None or self.retiring else ())

    @property
    def drift_kinds(self) -> frozenset[DriftKind]:
        """What a sync would take the changes for."""
        changes = self.changes
        kinds = (
            (DriftKind.ENABLED, changes.enabled is not None),
            (DriftKind.DATES, changes.not_before is not None or changes.expires_on is not None),
            (DriftKind.OPERATIONS, changes.operations is not None),
            (DriftKind.TAGS, changes.tags is not None),
        )
        return frozenset(kind for kind, changed in kinds if changed)

    def details(self) -> dict[str, str]:
        """Return what a pending action keeps of it."""
        retiring = {"retire": "true"} if self.retiring else {}
        changes = _written(self.changes)
        return {"versions": ",".join(self.versions), "changes": changes, "reason": self.reason, **retiring}

    def met(self, versions: Iterable[KeyVersion]) -> tuple[str, ...]:
        """Return which of its versions are as it wants them."""
        return tuple(
            version.id for version in versions if version.id in self.versions and _is_met(self.changes, version)
        )


def wanted_by(pending: PendingAction | None) -> WantedChanges | None:
    """Return what a pending action wants of versions, None if it is no action of that kind."""
    if pending is None or "changes" not in pending.details:
        return None
    details = pending.details
    return WantedChanges(
        tuple(filter(None, details["versions"].split(","))),
        _read(details["changes"]),
        details.get("reason", ""),
        retiring="retire" in details,
    )


def _is_met(changes: VersionChanges, version: KeyVersion) -> bool:
    validity = version.validity
    pairs = (
        (changes.enabled, validity.enabled),
        (changes.not_before, validity.not_before),
        (changes.expires_on, validity.expires_on),
        (_unordered(changes.operations), frozenset(version.operations)),
        (_unordered(changes.tags), frozenset(version.tags)),
    )
    return all(wanted is None or wanted == found for wanted, found in pairs)


def _unordered[T](items: tuple[T, ...] | None) -> frozenset[T] | None:
    return None if items is None else frozenset(items)


def _written(changes: VersionChanges) -> str:
    members = {
        "enabled": changes.enabled,
        "not_before": changes.not_before.isoformat() if changes.not_before else None,
        "expires_on": changes.expires_on.isoformat() if changes.expires_on else None,
        "operations": changes.operations,
        "tags": changes.tags,
    }
    return json.dumps({name: value for name, value in members.items() if value is not None})


def _read(text: str) -> VersionChanges:
    members = json.loads(text)
    return VersionChanges(
        enabled=members.get("enabled"),
        not_before=_moment(members.get("not_before")),
        expires_on=_moment(members.get("expires_on")),
        operations=tuple(members["operations"]) if "operations" in members else None,
        tags=tuple((name, value) for name, value in members["tags"]) if "tags" in members else None,
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
