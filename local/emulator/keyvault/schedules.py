"""When rotation policies fall due. Durations are ISO 8601; a year counts 365 days and a month 30."""

import re

from local.emulator.keyvault.model import Key
from local.emulator.keyvault.names import fold
from local.emulator.keyvault.store import VaultStore

DAY_SECONDS = 86400
ROTATE = "Rotate"

_DURATION = re.compile(
    r"P(?=.)(?:(\d{1,4})Y)?(?:(\d{1,5})M)?(?:(\d{1,5})W)?(?:(\d{1,6})D)?"
    r"(?:T(?=.)(?:(\d{1,6})H)?(?:(\d{1,8})M)?(?:(\d{1,10})S)?)?\Z"
)
_UNITS = (365 * DAY_SECONDS, 30 * DAY_SECONDS, 7 * DAY_SECONDS, DAY_SECONDS, 3600, 60, 1)


def duration_seconds(text: str) -> int:
    """Return the length of an ISO 8601 duration in seconds.

    Raises:
        ValueError: the text is no such duration.

    """
    match = _DURATION.match(text)
    if match is None:
        raise ValueError("not an ISO 8601 duration")
    return sum(int(count or 0) * unit for count, unit in zip(match.groups(), _UNITS, strict=True))


def rotation_due(key: Key) -> float | None:
    """Return when the policy of `key` asks for the next version; None if it never does."""
    policy, newest = key.rotation_policy, key.newest
    if policy is None:
        return None
    for action in policy.actions:
        if action.action.lower() != ROTATE.lower():
            continue
        if action.time_after_create is not None:
            return newest.created + duration_seconds(action.time_after_create)
        if action.time_before_expiry is not None and newest.expires_on is not None:
            return newest.expires_on - duration_seconds(action.time_before_expiry)
    return None


def schedule_rotation(store: VaultStore, key: Key) -> None:
    """Note in the store when `key` rotates next."""
    due = rotation_due(key)
    if due is not None:
        store.schedule_rotation(fold(key.name), due)
