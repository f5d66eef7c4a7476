"""Transaction limits: a vault's per 10 seconds, weighted by key type and size; a Managed HSM's per second.

Each limit is a sliding window that holds the share of itself that recent requests used up; a request that
would take it over 1 is refused and not counted. Time here is real time: moving the world's clock frees nothing.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from local.emulator.keyvault.calls import Call
from local.emulator.keyvault.errors import throttled
from local.emulator.keyvault.kinds import is_hsm
from local.emulator.keyvault.model import KeyVersion
from local.emulator.keyvault.names import fold
from local.emulator.keyvault.operations import Budget, Operation

VAULT_SECONDS = 10.0
HSM_SECONDS = 1.0
_SLICES = 50
# Rounding of the sums must not refuse the last request within the limit.
_FULL = 1.0 + 1e-9

_CREATE = {True: 10, False: 20}
_IMPORT = 300
_VAULT = 4000
_RSA = {True: {2048: 2000, 3072: 500, 4096: 250}, False: {2048: 4000, 3072: 1000, 4096: 500}}
_OTHER_KEYS = {True: 2000, False: 4000}
_HSM: Mapping[str, int] = {
    "create_key": 1,
    "delete_key": 10,
    "purge_deleted_key": 10,
    "backup_key": 10,
    "restore_key": 10,
    "get_key": 1100,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """The window that a request counts against, and how many such requests fill it."""

    window: str
    limit: int


class SlidingWindow:
    """The share of a limit used up in the last `seconds`, in slices of a fiftieth of that."""

    def __init__(self, seconds: float) -> None:
        self._slice_seconds = seconds / _SLICES
        self._slices: deque[tuple[int, float]] = deque()
        self._used = 0.0

    def admit(self, share: float, now: float) -> bool:
        """Count a request at `now` unless it would exceed the limit."""
        index = int(now / self._slice_seconds)
        while self._slices and self._slices[0][0] <= index - _SLICES:
            self._used -= self._slices.popleft()[1]
        if not self._slices:
            self._used = 0.0
        if self._used + share > _FULL:
            return False
        self._used += share
        if self._slices and self._slices[-1][0] == index:
            share += self._slices.pop()[1]
        self._slices.append((index, share))
        return True


class Throttle:
    """The limits of one vault."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._windows: dict[str, SlidingWindow] = {}

    def admit(self, call: Call, operation: Operation) -> None:
        """Count a request, or raise the 429 answer.

        Raises:
            KeyVaultError: a limit is used up.

        """
        settings = call.world.throttling
        cost = _hsm_cost(operation) if is_hsm(call.vault) else _vault_cost(call, operation)
        if not settings.enabled or cost is None:
            return
        window = self._windows.get(cost.window)
        if window is None:
            seconds = HSM_SECONDS if is_hsm(call.vault) else VAULT_SECONDS
            window = self._windows[cost.window] = SlidingWindow(seconds)
        # A limit scaled below one request refuses everything, as a limit of zero would.
        share = 1.0 / (cost.limit * settings.scale) if settings.scale > 0 else 2.0
        if not window.admit(share, self._monotonic()):
            raise throttled()


def _hsm_cost(operation: Operation) -> Cost | None:
    limit = _HSM.get(operation.name)
    return Cost(operation.name, limit) if limit is not None else None


def _vault_cost(call: Call, operation: Operation) -> Cost:
    if operation.budget is Budget.IMPORT:
        return Cost("import", _IMPORT)
    version = _version(call)
    if operation.budget is Budget.CREATE:
        kty = call.body.get("kty") or (version.kty if version is not None else "")
        hardware = str(kty).endswith("-HSM")
        return Cost(f"create {hardware}", _CREATE[hardware])
    if operation.budget is Budget.VAULT or version is None:
        return Cost("vault", _VAULT)
    limits = _RSA[version.hsm] if version.material.family == "RSA" else {}
    return Cost(f"key {version.hsm}", limits.get(version.material.size, _OTHER_KEYS[version.hsm]))


def _version(call: Call) -> KeyVersion | None:
    folded = fold(call.name)
    key = call.store.keys.get(folded)
    if key is None:
        record = call.store.deleted.get(folded)
        key = record.key if record is not None else None
    if key is None:
        return None
    return key.versions.get(call.version) or key.newest
