"""Waiting for a vault's rate limit: one pace per vault in the process, shared by whoever calls it.

Every attempt of every request passes `PacingPolicy`, the SDK's repeated ones too.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncHTTPPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest

from core.domain.connections import VaultType
from core.domain.rate_limits import DEFAULT_SHARE, Pace, VaultOperation, limit_of

_TOO_MANY = 429
_VAULTS = 256
_OPERATION, _COST = "vault_operation", "vault_cost"


class VaultPacer:
    """The pace of one vault: `admit` waits until a request may go out."""

    def __init__(self, vault_type: VaultType, share: float, clock: Callable[[], float]) -> None:
        self._type = vault_type
        self._clock = clock
        self._full = Pace(share=share, share_then=share)
        self._paces: dict[str, Pace] = {}

    async def admit(self, operation: VaultOperation, cost: int) -> None:
        """Wait for room in the vault's limit, and take it."""
        name, limit = limit_of(self._type, operation)
        while True:
            wait, self._paces[name] = self._pace(name).admit(limit, cost, self._clock())
            if wait <= 0:
                return
            await asyncio.sleep(wait)

    def charge(self, operation: VaultOperation, cost: int) -> None:
        """Count units that the answer showed a request to have cost beyond what was asked for."""
        if cost > 0:
            name, limit = limit_of(self._type, operation)
            self._paces[name] = self._pace(name).charged(limit, cost, self._clock())

    def answered(self, operation: VaultOperation, status: int, retry_after: float | None) -> None:
        """Slow down after a 429, and go on after anything else."""
        name, _ = limit_of(self._type, operation)
        pace, now = self._pace(name), self._clock()
        self._paces[name] = pace.refused(now, retry_after) if status == _TOO_MANY else pace.accepted(now)

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
        for name in (_OPERATION, _COST):
            if name in request.context.options:
                request.context[name] = request.context.options.pop(name)
        operation: VaultOperation = request.context[_OPERATION]
        await self._pacer.admit(operation, request.context[_COST])
        response = await self.next.send(request)
        self._pacer.answered(operation, response.http_response.status_code, retry_after(response.http_response.headers))
        return response


def paced(operation: VaultOperation, cost: int) -> dict[str, Any]:
    """Return the request options that tell `PacingPolicy` what a request is and costs."""
    return {_OPERATION: operation, _COST: cost}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an answer asks to wait, or None; both forms of RFC 9110, 10.2.3."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text) or None
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time()) or None
    except ValueError:
        return None
