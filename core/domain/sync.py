"""The rules of a sync: what changed, what that makes of the record, and which keys need an escrow.

Invariants:
- Nothing that only Keysteward knows is lost: name, origin, creator, escrow, drift and history are carried over.
- Every difference between record and vault becomes drift with before and after: changes made through Keysteward are
  recorded when they are made, so whatever a sync finds was made outside.
- A key is told from another of the same name by its oldest version: ids of versions survive backup and restore.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from core.domain.callers import Actor, ActorKind
from core.domain.changes import absorbed, within_row
from core.domain.drift import Drift, DriftKind
from core.domain.identifiers import IdKind, derived_id
from core.domain.key_names import synced_name
from core.domain.keys import (
    GONE,
    KEPT_ENTRIES,
    HistoryEntry,
    KeyOrigin,
    KeyVersion,
    Presence,
    VirtualKey,
    extended,
)
from core.domain.observed import ListedKey, ListedVersion, ObservedKey, fingerprint
from core.domain.pending_actions import KeyAction
from core.domain.summaries import KeySummary
from core.domain.wanted_changes import wanted_by

_SYNC = "sync"


@dataclass(frozen=True, slots=True)
class SyncContext:
    """What one sync knows about itself."""

    account: str
    group: str
    label: str
    job: str
    now: datetime

    @property
    def actor(self) -> Actor:
        """The cause that history shows for what the sync itself does."""
        return Actor(ActorKind.SYNC, self.job, _SYNC)


def is_unchanged(recorded: KeySummary, listed: ListedKey, *, escrow: bool) -> bool:
    """Whether the list alone shows that nothing needs to be asked, recorded or escrowed.

    A backup that the vault refused is not asked for again until the key changes or a full sync comes.
    """
    expected = Presence.SOFT_DELETED if listed.deletion else Presence.LIVE
    if recorded.presence is not expected or recorded.fingerprint != fingerprint(listed):
        return False
    return (
        not escrow or listed.deletion is not None or not recorded.escrow_pending or recorded.escrow_problem is not None
    )


def versions_to_fetch(recorded: VirtualKey | None, listed: Iterable[ListedVersion]) -> list[str]:
    """Return the versions whose details are unknown, or not those of the list.

    A vault's times are whole seconds, so what a list shows is compared beside the time of the last change.
    """
    known = {version.id: _listed(version) for version in recorded.versions} if recorded else {}
    return [version.id for version in listed if known.get(version.id) != _listed(version)]


def _listed(version: KeyVersion | ListedVersion) -> tuple[object, ...]:
    return version.updated_on, version.validity, version.tags


def assemble(
    recorded: VirtualKey | None, listed: Iterable[ListedVersion], fetched: dict[str, KeyVersion]
) -> tuple[KeyVersion, ...]:
    """Return all versions, oldest first, from what is recorded and what was fetched anew.

    Vaults list versions in the order of their ids, so the order is made here. Times are in seconds: of versions from
    the same second, those that were recorded first come first.
    """
    known = {version.id: version for version in recorded.versions} if recorded else {}
    versions = {version.id: fetched.get(version.id) or known[version.id] for version in listed}
    met = [*(id_ for id_ in known if id_ in versions), *sorted(versions.keys() - known.keys())]
    return tuple(sorted((versions[id_] for id_ in met), key=lambda version: version.created_on))


def key_id(group: str, observed: ObservedKey) -> str:
    """Return the id that this key always gets, whichever sync finds it first."""
    oldest = observed.versions[0].id if observed.versions else ""
    return derived_id(IdKind.KEY, group, observed.listed.name.lower(), oldest)


def is_same_key(recorded: VirtualKey, observed: ObservedKey) -> bool:
    """Whether `observed` is the recorded key, and not another one made under its name after a purge.

    A soft-deleted key shows its newest version only, which need not be known yet, so that a recorded key is believed to
    be there still. Single versions cannot be deleted: a live key without the recorded key's oldest one is another.
    """
    if recorded.pending is not None and recorded.pending.action is KeyAction.REIMPORT:
        return True
    seen = {version.id for version in observed.versions}
    if observed.listed.deletion is not None:
        return recorded.presence not in GONE or any(version.id in seen for version in recorded.versions)
    return not recorded.versions or recorded.versions[0].id in seen


def discovered(context: SyncContext, observed: ObservedKey) -> VirtualKey:
    """Return the record of a key that was not known."""
    listed = observed.listed
    return VirtualKey(
        id=key_id(context.group, observed),
        account=context.account,
        group=context.group,
        # The group's label makes the display name unique in the account without asking anyone.
        name=synced_name(context.label, listed.name),
        azure_name=listed.name,
        origin=KeyOrigin.NATIVE,
        created_by=context.actor,
        recorded_on=context.now,
        observed_on=context.now,
        presence=Presence.SOFT_DELETED if listed.deletion else Presence.LIVE,
        versions=within_row(observed.versions),
        fingerprint=fingerprint(listed),
        deletion=listed.deletion,
        history=(HistoryEntry(context.now, "key.discovered", context.actor),),
    )


def updated(context: SyncContext, recorded: VirtualKey, observed: ObservedKey) -> VirtualKey:
    """Return the record after `observed`, with drift for every difference."""
    now = absorbed(recorded, observed, context.now)
    drift = [
        *_presence_drift(context, recorded, now.presence),
        *_version_drift(context, recorded.versions, now.versions),
        *_material_drift(context, recorded, now.versions),
    ]
    return _drifted(context, now, drift)


def vanished(context: SyncContext, recorded: VirtualKey) -> VirtualKey:
    """Return the record of a key that is neither live nor soft-deleted any more.

    One that is being soft-deleted or recovered is neither for a while: whoever does that records how it ends.
    """
    if recorded.presence in GONE or (recorded.pending is not None and recorded.pending.action in _HIDING):
        return recorded
    gone = replace(recorded, presence=Presence.PURGED, observed_on=context.now)
    return _drifted(
        context, gone, [_drift(context, DriftKind.VANISHED, recorded.presence.value, Presence.PURGED.value)]
    )


def needs_escrow(key: VirtualKey) -> bool:
    """Whether a live key has a version that its newest escrow does not cover."""
    return key.presence is Presence.LIVE and bool(key.unescrowed)


def _presence_drift(context: SyncContext, recorded: VirtualKey, presence: Presence) -> list[Drift]:
    kinds = {
        (Presence.LIVE, Presence.SOFT_DELETED): DriftKind.SOFT_DELETED,
        (Presence.SOFT_DELETED, Presence.LIVE): DriftKind.RECOVERED,
        (Presence.PURGED, Presence.LIVE): DriftKind.RESTORED,
        (Presence.PURGED, Presence.SOFT_DELETED): DriftKind.RESTORED,
        (Presence.DESTROYED, Presence.LIVE): DriftKind.RESTORED,
        (Presence.DESTROYED, Presence.SOFT_DELETED): DriftKind.RESTORED,
    }
    kind = kinds.get((recorded.presence, presence))
    return [_drift(context, kind, recorded.presence.value, presence.value)] if kind else []


def _version_drift(
    context: SyncContext, recorded: tuple[KeyVersion, ...], observed: tuple[KeyVersion, ...]
) -> list[Drift]:
    known = {version.id: version for version in recorded}
    seen = {version.id for version in observed}
    drift: list[Drift] = []
    for version in observed:
        before = known.get(version.id)
        if before is None:
            drift.append(_drift(context, DriftKind.NEW_VERSION, None, version.id, version.id))
        else:
            drift += _attribute_drift(context, before, version)
    gone = [version.id for version in recorded if version.id not in seen]
    return drift + [_drift(context, DriftKind.VERSION_VANISHED, id_, None, id_) for id_ in gone]


def _material_drift(context: SyncContext, recorded: VirtualKey, observed: tuple[KeyVersion, ...]) -> Iterable[Drift]:
    """New versions of a copy that are not its source key's material."""
    link = recorded.copied_from
    if link is None or link.latest is None:
        return
    known = {version.id for version in recorded.versions}
    for version in observed:
        if version.id not in known and not link.has(version):
            found = version.public_key.thumbprint
            yield _drift(context, DriftKind.MATERIAL, link.latest.thumbprint, found, version.id)


def _attribute_drift(context: SyncContext, before: KeyVersion, after: KeyVersion) -> list[Drift]:
    shown = (
        (DriftKind.ENABLED, str(before.validity.enabled).lower(), str(after.validity.enabled).lower()),
        (DriftKind.DATES, _dates(before), _dates(after)),
        (DriftKind.OPERATIONS, ",".join(sorted(before.operations)), ",".join(sorted(after.operations))),
        (DriftKind.TAGS, json.dumps(dict(before.tags), sort_keys=True), json.dumps(dict(after.tags), sort_keys=True)),
        (DriftKind.MATERIAL, before.public_key.thumbprint or "", after.public_key.thumbprint or ""),
    )
    return [_drift(context, kind, old, new, after.id) for kind, old, new in shown if old != new]


def _drift(
    context: SyncContext, kind: DriftKind, before: str | None, after: str | None, version: str | None = None
) -> Drift:
    return Drift(kind, context.now, context.job, before, after, version)


#: Actions during which a vault shows a key neither live nor soft-deleted for a while.
_HIDING = frozenset({KeyAction.SOFT_DELETE, KeyAction.RECOVER})
#: What a sync may find of an action that Keysteward has under way: whoever does it records it. What it may find of
#: changed attributes the action itself says. A backup brings attributes back as they were, and not all versions.
_EXPLAINED: Mapping[KeyAction, frozenset[DriftKind]] = MappingProxyType(
    {
        KeyAction.ROTATE: frozenset({DriftKind.NEW_VERSION, DriftKind.MATERIAL}),
        KeyAction.SOFT_DELETE: frozenset({DriftKind.SOFT_DELETED}),
        KeyAction.RECOVER: frozenset({DriftKind.RECOVERED}),
        KeyAction.PURGE: frozenset({DriftKind.VANISHED}),
        KeyAction.RESTORE: frozenset(
            {
                DriftKind.RESTORED,
                DriftKind.VERSION_VANISHED,
                DriftKind.ENABLED,
                DriftKind.DATES,
                DriftKind.OPERATIONS,
                DriftKind.TAGS,
            }
        ),
        KeyAction.REIMPORT: frozenset({DriftKind.RESTORED, DriftKind.NEW_VERSION, DriftKind.VERSION_VANISHED}),
    }
)


def _unexplained(key: VirtualKey, drift: list[Drift]) -> list[Drift]:
    explained = _EXPLAINED.get(key.pending.action, frozenset()) if key.pending else frozenset()
    wanted = wanted_by(key.pending)
    kinds, met = (wanted.drift_kinds, wanted.met(key.versions)) if wanted else (frozenset(), ())
    return [
        change
        for change in drift
        if change.kind not in explained and not (change.kind in kinds and change.version in met)
    ]


def _drifted(context: SyncContext, key: VirtualKey, drift: list[Drift]) -> VirtualKey:
    drift = _unexplained(key, drift)
    outside = Actor(ActorKind.OUTSIDE, context.job, "outside Keysteward")
    entries = tuple(
        HistoryEntry(context.now, f"drift.{change.kind.value}", outside, change.version or "") for change in drift
    )
    return replace(
        key,
        drift=(*key.drift, *drift)[-KEPT_ENTRIES:],
        history=extended(key.history, *entries),
    )


def _dates(version: KeyVersion) -> str:
    return f"{_moment(version.validity.not_before)}..{_moment(version.validity.expires_on)}"


def _moment(when: datetime | None) -> str:
    return when.isoformat() if when else ""
