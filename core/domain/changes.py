"""What becomes of a key's record when Keysteward itself changed the key: the answer is recorded, without drift."""

from dataclasses import replace

from core.domain.keys import HistoryEntry, KeyVersion, VirtualKey, extended
from core.domain.observed import ListedKey
from core.domain.sync import fingerprint


def changed_version(key: VirtualKey, listed: ListedKey, version: KeyVersion, entry: HistoryEntry) -> VirtualKey:
    """Return the record after a change of one version; `listed` is that version as a list would show it."""
    versions = tuple(version if one.id == version.id else one for one in key.versions)
    # A vault's list shows the current version only.
    current = key.current is not None and key.current.id == version.id
    return replace(
        key,
        versions=versions,
        fingerprint=fingerprint(listed) if current else key.fingerprint,
        observed_on=entry.on,
        history=extended(key.history, entry),
    )
