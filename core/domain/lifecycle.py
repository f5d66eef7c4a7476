"""The life of a virtual key as one table: every condition, every action, and what comes of it.

Invariants: a condition is derived from what was observed, at a time, and never stored; a pair that the table refuses is
refused with its code before anything is asked of the vault. docs/lifecycle.md draws the table, and a test compares.

Sources: Microsoft, 'Soft-delete overview' (a soft-deleted key can only be listed, read, recovered or purged; a purge
is final), 'About keys' (attributes are those of a version; an expired key still decrypts, unwraps and verifies).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from core.domain.keys import Condition, Validity, VirtualKey, condition_at, state_of
from core.domain.pending_actions import KeyAction
from core.errors import ConflictError


@dataclass(frozen=True, slots=True)
class Step:
    """One cell: what happens in words, or the code with which it is refused."""

    result: str = ""
    code: str | None = None


_CODES: Mapping[str, str] = MappingProxyType(
    {
        "key_already_disabled": "The key is disabled already.",
        "key_not_disabled": "The key is not disabled.",
        "key_expired": "The key is enabled and past its deactivation date: move that date.",
        "key_live": "The key is live in its vault.",
        "key_soft_deleted": "The key is soft-deleted: recover it first.",
        "key_purged": "The key is purged: restore it, or import it again.",
        "key_destroyed": "The key and its escrow are destroyed.",
    }
)


def _refused(code: str) -> Step:
    return Step(code=code)


_LIVE: Mapping[KeyAction, Step] = {
    KeyAction.UPDATE: Step("as its new dates say"),
    KeyAction.DEACTIVATE: Step("disabled"),
    KeyAction.ACTIVATE: _refused("key_not_disabled"),
    KeyAction.ROTATE: Step("as its new version is"),
    KeyAction.SOFT_DELETE: Step("soft-deleted"),
    KeyAction.RECOVER: _refused("key_live"),
    KeyAction.PURGE: _refused("key_live"),
    KeyAction.RESTORE: _refused("key_live"),
    KeyAction.REIMPORT: _refused("key_live"),
    KeyAction.DELETE: _refused("key_live"),
}
_SOFT_DELETED: Mapping[KeyAction, Step] = {
    **dict.fromkeys(KeyAction, _refused("key_soft_deleted")),
    KeyAction.RECOVER: Step("as it was, with all versions"),
    KeyAction.PURGE: Step("purged"),
}
_PURGED: Mapping[KeyAction, Step] = {
    **dict.fromkeys(KeyAction, _refused("key_purged")),
    KeyAction.RESTORE: Step("as it was, with all versions"),
    KeyAction.REIMPORT: Step("as its source key is, with one version"),
    KeyAction.DELETE: Step("destroyed"),
}

TABLE: Mapping[Condition, Mapping[KeyAction, Step]] = MappingProxyType(
    {
        Condition.PRE_ACTIVE: _LIVE,
        Condition.ACTIVE: _LIVE,
        Condition.DISABLED: {
            **_LIVE,
            KeyAction.DEACTIVATE: _refused("key_already_disabled"),
            KeyAction.ACTIVATE: Step("as its dates say"),
        },
        Condition.EXPIRED: {**_LIVE, KeyAction.ACTIVATE: _refused("key_expired")},
        Condition.SOFT_DELETED: _SOFT_DELETED,
        Condition.PURGED: _PURGED,
        Condition.DESTROYED: dict.fromkeys(KeyAction, _refused("key_destroyed")),
    }
)


def condition_of(key: VirtualKey, now: datetime) -> Condition:
    """Return a key's condition at `now`."""
    return condition_at(key.presence, key.current.validity if key.current else Validity(), now)


def require(key: VirtualKey, action: KeyAction, now: datetime) -> None:
    """Raise ConflictError with the table's code unless the key's condition lets the action happen."""
    code = TABLE[condition_of(key, now)][action].code
    if code is not None:
        raise refusal(key, action, code, now)


def refusal(key: VirtualKey, action: KeyAction, code: str, now: datetime) -> ConflictError:
    """Return the refusal of an action with one of the table's codes."""
    facts = {"state": state_of(condition_of(key, now)), "action": action}
    return ConflictError(_CODES[code], code=code, facts=facts)
