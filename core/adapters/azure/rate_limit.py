"""Waiting for a vault's rate limit: one pace per vault in the process, shared by whoever calls it.

Invariants: every attempt of every request passes `PacingPolicy`, the SDK's repeated ones too; whoever shares a limit
goes in the order of asking; nobody waits longer than LONGEST_WAIT, but is told at once when to come back.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncHTTPPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest

from core.domain.connections import ConnectionCause, VaultType
from core.domain.rate_limits import DEFAULT_SHARE, Limit, Pace, VaultOperation, limit_of
from core.errors import VaultUnavailableError

#: Seconds; a caller over HTTP has not much more, and a job comes back later.
LONGEST_WAIT = 60.0

_TOO_MANY = 429
_VAULTS = 256
_TURN = "vault_turn"


@dataclass(frozen=True, slots=True)
class Turn:
    """What a request is to the vault's limits; `key_type` is Azure's kty where it is known."""

    operation: VaultOperation
    cost: int = 1
    key_type: str | None = None


@dataclass(slots=True)
class _Line:
    """Those who wait for the same limit, with the units that they are going to spend."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    units: int = 0


class VaultPacer:
    """The pace of one vault: `admit` waits until a request may go out."""

    def __init__(self, vault_type: VaultType, share: float, clock: Callable[[], float]) -> None:
        self._type = vault_type
        self._clock = clock
        self._full = Pace(share=share, share_then=share)
        self._paces: dict[str, Pace] = {}
        self._lines: dict[str, _Line] = {}

    async def admit(self, turn: Turn) -> None:
        """Wait for room in the vault's limit, and take it; VaultUnavailableError `vault_throttled` if it takes long."""
        name, limit = self._limit(turn)
        line = self._lines.setdefault(name, _Line())
        asked_on = self._clock()
        if line.units:
            _check_wait(self._pace(name).expected_wait(limit, line.units, turn.cost, asked_on))
        line.units += turn.cost
        try:
            async with line.turn:
                await self._take(name, limit, turn.cost, asked_on)
        finally:
            line.units -= turn.cost

    def charge(self, turn: Turn) -> None:
        """Count units that the answer showed a request to have cost beyond what was asked for."""
        if turn.cost > 0:
            name, limit = self._limit(turn)
            self._paces[name] = self._pace(name).charged(limit, turn.cost, self._clock())

    def answered(self, turn: Turn, status: int, retry_after: float | None) -> None:
        """Slow down after a 429, and go on after anything else."""
        name, _ = self._limit(turn)
        pace, now = self._pace(name), self._clock()
        self._paces[name] = pace.refused(now, retry_after) if status == _TOO_MANY else pace.accepted(now)

    async def _take(self, name: str, limit: Limit, cost: int, asked_on: float) -> None:
        while True:
            now = self._clock()
            wait, self._paces[name] = self._pace(name).admit(limit, cost, now)
            if wait <= 0:
                return
            # A refusal meanwhile, or a line that moved more slowly than expected.
            _check_wait(now - asked_on + wait)
            await asyncio.sleep(wait)

    def _limit(self, turn: Turn) -> tuple[str, Limit]:
        return limit_of(self._type, turn.operation, turn.key_type)

    def _pace(self, name: str) -> Pace:
        return self._paces.get(name, self._full)


class RateLimits:
    """The pacers of all vaults that this process lately used."""

    def __init__(self, share: float = DEFAULT_SHARE, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._clock = clock
        self._pacers: OrderedDict[str, VaultPacer] = OrderedDict()

    def of(self, uri: str, vault_type: VaultType) -> VaultPacer:
        """Return the pacer of a vault, the same one for every caller."""
        pacer = self._pacers.get(uri)
        if pacer is None:
            pacer = self._pacers[uri] = VaultPacer(vault_type, self._share, self._clock)
        self._pacers.move_to_end(uri)
        if len(self._pacers) > _VAULTS:
            self._pacers.popitem(last=False)
        return pacer


class PacingPolicy(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Lets each attempt of a request wait its turn; `paced` gives the options that it needs."""

    def __init__(self, pacer: VaultPacer) -> None:
        super().__init__()
        self._pacer = pacer

    async def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        """Wait, send, and tell the pacer what came back."""
        # Options are the transport's in the end; what a repeated attempt needs again moves to the context.
        if _TURN in request.context.options:
            request.context[_TURN] = request.context.options.pop(_TURN)
        turn: Turn = request.context[_TURN]
        await self._pacer.admit(turn)
        response = await self.next.send(request)
        self._pacer.answered(turn, response.http_response.status_code, retry_after(response.http_response.headers))
        return response


def paced(turn: Turn) -> dict[str, Any]:
    """Return the request options that tell `PacingPolicy` what a request is and costs."""
    return {_TURN: turn}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an answer asks to wait, or None; both forms of RFC 9110, 10.2.3."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text) or None
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time()) or None
    except ValueError:
        return None


def _check_wait(seconds: float) -> None:
    if seconds > LONGEST_WAIT:
        raise VaultUnavailableError(
            "So many requests wait for this vault's limit that this one is not let in now.",
            code="vault_throttled",
            retry_after=timedelta(seconds=seconds),
            facts={"cause": ConnectionCause.THROTTLED.value},
        )
