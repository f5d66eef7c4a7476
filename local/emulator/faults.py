"""Latency, injected faults and request counters, as one middleware on every listener.

Invariants:
- A request that no rule matches pays one dictionary look-up and one counter increment.
- Rules are tried in the order in which they were added; the first that fires decides.
- Random rules draw from their own seeded generator, so a scenario repeats exactly.
"""

import asyncio
import random
import re
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import ConfigDict

ActionKind = Literal["respond", "cut", "cut_after", "hang", "delay", "empty_page"]

OPERATION = web.RequestKey("operation", str)
"""Set by a handler whose name is not the operation's; read by the counters."""
EMPTY_PAGE = web.RequestKey("empty_page", bool)
"""Set when a list has to answer an empty page with a next link before the page asked for."""

STRICT = ConfigDict(extra="forbid")
"""Given to a dataclass that is read from JSON: an unknown member is refused."""

CUT = 0
"""The status that counters record for a request that was cut without an answer."""


@dataclass
class Action:
    """What happens to a request that a rule picks.

    `respond` answers instead of the service (`body` raw, else an Azure error of `code` and `message`); `cut` closes the
    connection before and `cut_after` after the work; `hang` keeps silent for `seconds`, then cuts; `delay` waits
    `seconds`, then works; `empty_page` puts an empty page with a next link before a list's page.
    """

    __pydantic_config__ = STRICT

    kind: ActionKind
    status: int = 500
    code: str = "InternalServerError"
    message: str = "The service encountered an internal error."
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    seconds: float = 0.0


@dataclass
class FaultRule:
    """Which requests an action befalls. `None` matches everything; `count` bounds how often it fires."""

    __pydantic_config__ = STRICT

    action: Action
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    service: str | None = None
    vault: str | None = None
    method: str | None = None
    path: str | None = None
    operation: str | None = None
    count: int | None = None
    skip: int = 0
    probability: float = 1.0
    seed: int = 0
    fired: int = 0

    def __post_init__(self) -> None:
        """Prepare what matching needs; raises ValueError when `path` is no pattern."""
        try:
            self._path = re.compile(self.path) if self.path is not None else None
        except re.PatternError as error:
            raise ValueError(f"path: {error}") from error
        self._random = random.Random(self.seed)  # noqa: S311 - repeatable scenarios, not cryptography

    def fires(self, service: str, vault: str | None, request: web.Request) -> bool:
        """Return whether the rule befalls this request, and use up one of its `skip` or `count`."""
        if not self._matches(service, vault, request) or (self.count is not None and self.fired >= self.count):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.probability < 1.0 and self._random.random() >= self.probability:
            return False
        self.fired += 1
        return True

    def _matches(self, service: str, vault: str | None, request: web.Request) -> bool:
        return (
            self.service in (None, service)
            and (self.vault is None or self.vault.lower() == (vault or "").lower())
            and self.method in (None, request.method)
            and (self._path is None or self._path.search(request.path_qs) is not None)
            and self.operation in (None, operation_of(request))
        )


@dataclass
class Latency:
    """Milliseconds that every answer waits: a vault's own figure, else its service's, else none."""

    __pydantic_config__ = STRICT

    services: dict[str, float] = field(default_factory=dict)
    vaults: dict[str, float] = field(default_factory=dict)

    def seconds(self, service: str, vault: str | None) -> float:
        """Return the wait in seconds."""
        if self.vaults and vault is not None and vault.lower() in self.vaults:
            return self.vaults[vault.lower()] / 1000
        return self.services.get(service, 0.0) / 1000


class Counters:
    """How many requests each service, vault and operation has answered, by status."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, str, int]] = Counter()

    def add(self, service: str, vault: str | None, operation: str, status: int) -> None:
        """Count one request."""
        self._requests[service, vault or "", operation, status] += 1

    def rows(self) -> list[dict[str, str | int]]:
        """Return one row per service, vault, operation and status that occurred, sorted."""
        names = ("service", "vault", "operation", "status", "count")
        return [dict(zip(names, (*key, count), strict=True)) for key, count in sorted(self._requests.items())]

    def clear(self) -> None:
        """Start again at zero."""
        self._requests.clear()


def operation_of(request: web.Request) -> str:
    """Return the operation's name: what the handler set, else the handler's own, such as `get_key`, or `unmatched`."""
    named: str | None = request.get(OPERATION)
    if named is None and request.match_info.http_exception is not None:
        return "unmatched"
    return named or str(getattr(request.match_info.handler, "__name__", "unnamed"))


class Faults:
    """The faults and latency in force, and the middleware that applies them."""

    def __init__(self, counters: Counters) -> None:
        self.rules: list[FaultRule] = []
        self.latency = Latency()
        self._counters = counters

    def clear(self) -> None:
        """Drop every rule and all latency."""
        self.rules.clear()
        self.latency = Latency()

    def middleware(self, service: str, vault: str | None = None) -> Middleware:
        """Return the outermost middleware of one listener's application."""

        @web.middleware
        async def befall(request: web.Request, handler: Handler) -> web.StreamResponse:
            wait = self.latency.seconds(service, vault)
            if wait:
                await asyncio.sleep(wait)
            rule = next((rule for rule in self.rules if rule.fires(service, vault, request)), None)
            if rule is None:
                response = await _handle(request, handler)
            else:
                response = await _act(rule.action, request, handler)
            status = CUT if request.transport is None or request.transport.is_closing() else response.status
            self._counters.add(service, vault, operation_of(request), status)
            return response

        return befall


async def _handle(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return error


async def _act(action: Action, request: web.Request, handler: Handler) -> web.StreamResponse:
    match action.kind:
        case "respond":
            return _answer(action)
        case "cut":
            return _cut(request)
        case "cut_after":
            await _handle(request, handler)
            return _cut(request)
        case "hang":
            await asyncio.sleep(action.seconds)
            return _cut(request)
        case "delay":
            await asyncio.sleep(action.seconds)
        case "empty_page":
            request[EMPTY_PAGE] = True
    return await _handle(request, handler)


def _answer(action: Action) -> web.StreamResponse:
    if action.body is None:
        error = {"error": {"code": action.code, "message": action.message}}
        return web.json_response(error, status=action.status, headers=action.headers)
    headers = {"Content-Type": "application/json; charset=utf-8"} | action.headers
    return web.Response(body=action.body.encode(), status=action.status, headers=headers)


def _cut(request: web.Request) -> web.StreamResponse:
    # aiohttp must be given a response; it notices that the connection is gone and drops it.
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)
