"""What a vault says, in our terms: the adapters' answers, before anything is recorded."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from core.domain.keys import Deletion, KeyVersion, Validity


@dataclass(frozen=True, slots=True)
class ListedKey:
    """One line of a vault's key list, live or deleted: the current version's attributes, without its id.

    `recovery_level` and `exportable` are part of what can change; `deletion` is set in the list of deleted keys.
    """

    name: str
    created_on: datetime
    updated_on: datetime
    validity: Validity
    tags: tuple[tuple[str, str], ...]
    exportable: bool = False
    managed: bool = False
    deletion: Deletion | None = None


@dataclass(frozen=True, slots=True)
class KeyPage:
    """A page of a list: `token` fetches it again, `next_token` the next one. An empty page need not be the last."""

    token: str | None
    next_token: str | None
    keys: tuple[ListedKey, ...]


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """One line of a key's version list: no public key, no operations."""

    id: str
    created_on: datetime
    updated_on: datetime
    validity: Validity
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ObservedKey:
    """A whole key as the vault shows it: all versions, oldest first."""

    listed: ListedKey
    versions: tuple[KeyVersion, ...]


def fingerprint(listed: ListedKey) -> str:
    """Return a digest of everything that a vault's list shows of a key."""
    deletion = listed.deletion
    shown = [
        listed.name,
        listed.created_on.isoformat(),
        listed.updated_on.isoformat(),
        listed.validity.enabled,
        _moment(listed.validity.not_before),
        _moment(listed.validity.expires_on),
        listed.tags,
        listed.exportable,
        listed.managed,
        [_moment(deletion.deleted_on), _moment(deletion.scheduled_purge_on)] if deletion else None,
    ]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:32]


def _moment(when: datetime | None) -> str:
    return when.isoformat() if when else ""
