"""What becomes of a key's record when its vault was asked, or was changed by Keysteward itself: no drift."""

from dataclasses import replace
from datetime import datetime

from core.domain.callers import Actor
from core.domain.keys import HistoryEntry, KeyVersion, Presence, VirtualKey, extended
from core.domain.observed import ListedKey, ObservedKey, fingerprint
from core.domain.pending_actions import Deactivation
from core.domain.wanted_changes import WantedChanges

#: Older versions keep only the thumbprint of their public key, so that a key with thousands of versions fits a row.
KEPT_PUBLIC_KEYS = 500


def absorbed(key: VirtualKey, observed: ObservedKey, now: datetime) -> VirtualKey:
    """Return the record as the vault shows the key; what differs from before is taken over without a word."""
    listed = observed.listed
    presence = Presence.SOFT_DELETED if listed.deletion else Presence.LIVE
    # While a key is soft-deleted, its vault shows the newest version only: the others are still there.
    versions = observed.versions if presence is Presence.LIVE else _overlaid(key.versions, observed.versions)
    return replace(
        key,
        presence=presence,
        versions=within_row(versions),
        fingerprint=fingerprint(listed),
        deletion=listed.deletion,
        observed_on=now,
        deactivation=_still(key.deactivation, versions),
    )


def revised(key: VirtualKey, listed: ListedKey, version: KeyVersion, now: datetime) -> VirtualKey:
    """Return the record after a change of one version; `listed` is that version as a list would show it."""
    versions = tuple(version if one.id == version.id else one for one in key.versions)
    # A vault's list shows the current version only.
    current = key.current is not None and key.current.id == version.id
    shown = fingerprint(listed) if current else key.fingerprint
    return replace(key, versions=versions, fingerprint=shown, observed_on=now)


def overlaid(key: VirtualKey, versions: tuple[KeyVersion, ...]) -> VirtualKey:
    """Return the record with versions that the vault has beside those that are recorded."""
    return replace(key, versions=within_row(_overlaid(key.versions, versions))) if versions else key


def added(key: VirtualKey, listed: ListedKey, version: KeyVersion, now: datetime) -> VirtualKey:
    """Return the record with a version that the vault made; one that it has already is taken over as it is now."""
    others = (one for one in key.versions if one.id != version.id)
    # Times are in seconds, and a version that was just made is the newest.
    versions = tuple(sorted((*others, version), key=lambda one: one.created_on))
    return revised(replace(key, versions=within_row(versions)), listed, version, now)


def changed_version(key: VirtualKey, listed: ListedKey, version: KeyVersion, entry: HistoryEntry) -> VirtualKey:
    """Return the record after a change of one version, with its history."""
    changed = revised(key, listed, version, entry.on)
    return replace(changed, history=extended(changed.history, entry))


def noted(key: VirtualKey, wanted: WantedChanges, by: Actor, now: datetime) -> VirtualKey:
    """Return the record with what a deactivation or an activation says beside what the versions show already."""
    if wanted.retiring:
        done = wanted.met(key.versions)
        return replace(key, retirements=tuple(one for one in key.retirements if one.version not in done))
    earlier = _still(key.deactivation, key.versions)
    if wanted.changes.enabled is None:
        return key
    if wanted.changes.enabled:
        return replace(key, deactivation=earlier)
    versions = (*(earlier.versions if earlier else ()), *wanted.met(key.versions))
    if not versions:
        return key
    return replace(key, deactivation=Deactivation(now, by, wanted.reason, tuple(dict.fromkeys(versions))))


def within_row(versions: tuple[KeyVersion, ...]) -> tuple[KeyVersion, ...]:
    """Return versions as a record can hold them."""
    older, newer = versions[:-KEPT_PUBLIC_KEYS], versions[-KEPT_PUBLIC_KEYS:]
    slim = (replace(v, public_key=replace(v.public_key, n=None, e=None, x=None, y=None)) for v in older)
    return (*slim, *newer)


def _still(deactivation: Deactivation | None, versions: tuple[KeyVersion, ...]) -> Deactivation | None:
    """What is left of a deactivation when some of its versions were enabled again."""
    disabled = {version.id for version in versions if not version.validity.enabled}
    left = tuple(id_ for id_ in deactivation.versions if id_ in disabled) if deactivation else ()
    return replace(deactivation, versions=left) if deactivation and left else None


def _overlaid(recorded: tuple[KeyVersion, ...], observed: tuple[KeyVersion, ...]) -> tuple[KeyVersion, ...]:
    merged = {version.id: version for version in (*recorded, *observed)}
    return tuple(sorted(merged.values(), key=lambda version: version.created_on))
