"""The transaction limits of vaults, and when the next request may go out.

Invariants: no state but what the caller stores; the time is an argument (monotonic seconds); what was sent within the
last window and what is asked for now never exceed the share of the limit together.

Sources: 'Azure Key Vault service limits' (transactions in 10 seconds, per vault per region: 10 creations of keys
with HSM protection and 20 without, 300 imports, everything else weighted by key; a restore creates no key, and counts
as everything else) and 'Azure Managed HSM scaling guidance' (operations a second, per instance; it names no limit for
imports). Neither names rotation: the vault generates a key then, so it counts here as the creation that it is.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from core.domain.connections import VaultType

#: The part of a vault's limit that Keysteward uses, so that the vault's other clients have room.
DEFAULT_SHARE = 0.8

_SLICES = 20
_LONGEST_PAUSE = 16.0
_LOWEST_SHARE = 0.05
#: After a refusal the capacity comes back over this many seconds.
_RECOVERY = 60.0


class VaultOperation(StrEnum):
    """What a request does; the limits tell some of them apart. The value is the key permission that it needs."""

    GET = "get"
    LIST = "list"
    UPDATE = "update"
    CREATE = "create"
    IMPORT = "import"
    DELETE = "delete"
    RECOVER = "recover"
    BACK_UP = "backup"
    RESTORE = "restore"
    PURGE = "purge"
    ROTATE = "rotate"
    GET_ROTATION_POLICY = "getrotationpolicy"
    SET_ROTATION_POLICY = "setrotationpolicy"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `units` within any `seconds`. One unit is a transaction with a software-protected RSA-2048 key."""

    units: int
    seconds: float


_VAULT = Limit(4_000, 10.0)
_VAULT_CREATE_HSM = Limit(10, 10.0)
_VAULT_CREATE = Limit(20, 10.0)
_VAULT_IMPORT = Limit(300, 10.0)
_GENERATING = frozenset({VaultOperation.CREATE, VaultOperation.ROTATE})
_MANAGED_HSM = Limit(1_100, 1.0)
_MANAGED_HSM_CREATE = Limit(1, 1.0)
_MANAGED_HSM_SLOW = {
    VaultOperation.DELETE: Limit(10, 1.0),
    VaultOperation.PURGE: Limit(10, 1.0),
    VaultOperation.BACK_UP: Limit(10, 1.0),
    VaultOperation.RESTORE: Limit(10, 1.0),
}
_RSA_WEIGHTS = {3072: 4, 4096: 8}


def limit_of(vault_type: VaultType, operation: VaultOperation, key_type: str | None = None) -> tuple[str, Limit]:
    """Return the limit that counts for an operation, with the name of what shares it.

    `key_type` is Azure's kty; where a key is generated and its type is not known, the stricter limit counts.
    """
    if vault_type is VaultType.MANAGED_HSM:
        if operation in _GENERATING:
            return "create", _MANAGED_HSM_CREATE
        slow = _MANAGED_HSM_SLOW.get(operation)
        return (operation.value, slow) if slow else ("all", _MANAGED_HSM)
    if operation in _GENERATING:
        hardware = vault_type is VaultType.PREMIUM if key_type is None else key_type.endswith("-HSM")
        return ("create_hsm", _VAULT_CREATE_HSM) if hardware else ("create", _VAULT_CREATE)
    return ("import", _VAULT_IMPORT) if operation is VaultOperation.IMPORT else ("all", _VAULT)


def weight_of(vault_type: VaultType, key_type: str, size: int | None) -> int:
    """Return the units of one transaction with a key: larger RSA keys cost more, and HSM-protected ones twice that.

    A managed HSM counts operations, whatever the key.
    """
    if vault_type is VaultType.MANAGED_HSM:
        return 1
    weight = _RSA_WEIGHTS.get(size or 0, 1) if key_type.startswith("RSA") else 1
    return weight * (2 if key_type.endswith("-HSM") else 1)


@dataclass(frozen=True, slots=True)
class Pace:
    """What was sent lately, and what the vault said to it.

    `spent` holds slices of a window as (start of the slice, units); `refusals` counts those in a row, the latest at
    `refused_on`, when the share in use fell to `share_then`.
    """

    share: float = DEFAULT_SHARE
    spent: tuple[tuple[float, int], ...] = ()
    paused_until: float = -math.inf
    refusals: int = 0
    refused_on: float = -math.inf
    share_then: float = DEFAULT_SHARE

    def admit(self, limit: Limit, cost: int, now: float) -> tuple[float, "Pace"]:
        """Return 0 and the pace with `cost` spent, or the seconds to wait before asking again and the pace as it is."""
        if now < self.paused_until:
            return self.paused_until - now, self
        shared = self._shared(limit, now)
        # What costs more than the whole window goes out when nothing else does.
        wait = self._wait(shared, shared.units - min(cost, shared.units), now)
        return (wait, self) if wait > 0 else (0.0, self.charged(limit, cost, now))

    def expected_wait(self, limit: Limit, ahead: int, cost: int, now: float) -> float:
        """Return about how many seconds pass until `cost` can go out, behind `ahead` units that wait already."""
        pause = max(0.0, self.paused_until - now)
        shared = self._shared(limit, now)
        windows, rest = divmod(ahead + min(cost, shared.units) - 1, shared.units)
        return max(pause, self._wait(shared, shared.units - rest - 1, now)) + windows * _lifetime(shared)

    def charged(self, limit: Limit, cost: int, now: float) -> "Pace":
        """Return the pace with units spent without asking: what an answer showed a request to have cost."""
        start = now - now % (limit.seconds / _SLICES)
        live = self._live(self._shared(limit, now), now)
        if live and live[-1][0] == start:
            live[-1] = (start, live[-1][1] + cost)
        else:
            live.append((start, cost))
        return replace(self, spent=tuple(live))

    def refused(self, now: float, retry_after: float | None) -> "Pace":
        """Return the pace after a 429: a pause (Microsoft advises 1, 2, 4, 8, 16 s), then half the share.

        Refusals of requests that were under way together count once.
        """
        pause = retry_after or min(2.0**self.refusals, _LONGEST_PAUSE)
        if now < self.paused_until:
            return replace(self, paused_until=max(self.paused_until, now + (retry_after or 0.0)))
        lowered = max(self.share_at(now) / 2, _LOWEST_SHARE)
        return replace(self, paused_until=now + pause, refusals=self.refusals + 1, refused_on=now, share_then=lowered)

    def accepted(self, now: float) -> "Pace":
        """Return the pace after an answer that was no refusal."""
        return replace(self, refusals=0) if self.refusals and now >= self.paused_until else self

    def share_at(self, now: float) -> float:
        """Return the share in use: all of it, or after a refusal what has come back since."""
        regained = (now - self.refused_on) / _RECOVERY
        return self.share if regained >= 1 else self.share_then + (self.share - self.share_then) * regained

    def _shared(self, limit: Limit, now: float) -> Limit:
        """Return the share of a limit: fewer units, or, where that is less than one, one unit in a longer time."""
        units = limit.units * self.share_at(now)
        return Limit(math.floor(units), limit.seconds) if units >= 1 else Limit(1, limit.seconds / units)

    def _live(self, limit: Limit, now: float) -> list[tuple[float, int]]:
        return [entry for entry in self.spent if entry[0] + _lifetime(limit) > now]

    def _wait(self, limit: Limit, room: int, now: float) -> float:
        live = self._live(limit, now)
        excess = sum(units for _, units in live) - room
        for start, units in live:
            if excess <= 0:
                return 0.0
            excess -= units
            if excess <= 0:
                return start + _lifetime(limit) - now
        return 0.0


def _lifetime(limit: Limit) -> float:
    """Seconds from a slice's start until its last request is out of the window."""
    return limit.seconds * (1 + 1 / _SLICES)
