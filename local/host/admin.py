"""The host's own routes, under /admin; all but the ping need the master key.

As the real host: `GET host/ping`, `GET host/status`, `POST functions/{name}` (runs a timer or queue function now: 202).
For tests only: `PUT host/clock`, `PUT host/crash`.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from local.host.clock import NoProductClockError, move_product_clock
from local.host.crash import OutgoingCalls
from local.host.keys import HostKeys
from local.host.queues import QueueListener
from local.host.timers import TimerListener

_LOG = logging.getLogger(__name__)


class Admin:
    """Serves /admin; `errors` are the functions that could not be loaded, with the reason."""

    def __init__(
        self,
        keys: HostKeys,
        functions: list[str],
        errors: Mapping[str, str],
        listeners: Mapping[str, TimerListener | QueueListener],
        calls: OutgoingCalls,
    ) -> None:
        self._keys = keys
        self._functions = functions
        self._errors = errors
        self._listeners = listeners
        self._calls = calls
        self._runs: set[asyncio.Task[bool]] = set()

    async def handle(self, request: web.BaseRequest, path: str) -> web.Response:
        """Answer a request to `path`, which starts with 'admin/'."""
        operation = f"{request.method} {path.partition('/')[2]}"
        if operation == "GET host/ping":
            return web.Response(status=200)
        if not self._keys.is_master(request.headers.get("x-functions-key") or request.query.get("code")):
            return web.Response(status=401)
        if operation == "GET host/status":
            return web.json_response(self._status())
        try:
            body = json.loads(await request.read() or b"{}")
            return self._change(operation, body)
        except (ValueError, TypeError, KeyError, AttributeError):
            return web.Response(status=400)

    def _status(self) -> dict[str, Any]:
        return {
            "state": "Running",
            "functions": self._functions,
            "errors": dict(self._errors),
            "outgoing_calls": self._calls.made,
        }

    def _change(self, operation: str, body: dict[str, Any]) -> web.Response:
        if operation.startswith("POST functions/"):
            return self._run(operation.rpartition("/")[2], str(body.get("input") or ""))
        if operation == "PUT host/clock":
            return _move_clock(float(body["offset_seconds"]))
        if operation == "PUT host/crash":
            moment = body.get("moment", "before")
            if moment not in {"before", "after"}:
                return web.Response(status=400)
            self._calls.crash_at(int(body["after_calls"]), moment)
            return web.Response(status=204)
        return web.Response(status=404)

    def _run(self, name: str, text: str) -> web.Response:
        listener = self._listeners.get(name.lower())
        if listener is None:
            return web.Response(status=404)
        run = listener.run_now() if isinstance(listener, TimerListener) else listener.run_now(text)
        task = asyncio.ensure_future(run)
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)
        return web.Response(status=202)


def _move_clock(offset_seconds: float) -> web.Response:
    try:
        move_product_clock(offset_seconds)
    except NoProductClockError as error:
        return web.json_response({"error": f"the app has no {error}"}, status=409)
    return web.Response(status=204)
