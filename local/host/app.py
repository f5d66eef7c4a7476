"""The host: loads the app, then serves its functions until told to stop.

A function that cannot be served is left out, with the reason in the log and in /admin/host/status, as in the real host.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from local.host.admin import Admin
from local.host.crash import OutgoingCalls
from local.host.easy_auth import AuthOptions, EasyAuth
from local.host.frontend import Frontend
from local.host.functions import Function, FunctionError
from local.host.keys import HostKeys
from local.host.queues import QueueListener
from local.host.routes import Route, RouteTable, build_route
from local.host.settings import BODY_LIMIT, AppSettings, HostOptions, load_host_options
from local.host.storage import Storage
from local.host.timers import TimerListener
from local.host.worker import Worker

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What the command line says; times in seconds."""

    app_dir: Path
    port: int
    keys_file: Path
    auth: AuthOptions | None
    cut_after: float
    message_lock: int


class Host:
    """One function app, its routes and its listeners."""

    def __init__(self, options: Options, calls: OutgoingCalls) -> None:
        self._options = options
        self._calls = calls
        self._settings = AppSettings()
        self._host_options: HostOptions = load_host_options(options.app_dir)
        self._worker = Worker()
        self._storage = Storage(self._settings)
        self._routes: list[Route] = []
        self._listeners: dict[str, TimerListener | QueueListener] = {}
        self._errors: dict[str, str] = {}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Load the app and serve it; yields the port. Raises AppLoadError."""
        functions = sorted(await self._worker.load(self._options.app_dir), key=lambda f: f.name.lower())
        for function in functions:
            self._add(function)
        async with aiohttp.ClientSession() as session:
            runner = web.ServerRunner(self._server(functions, session), handle_signals=False)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", self._options.port)
            await site.start()
            tasks = [self._listen(name, listener) for name, listener in self._listeners.items()]
            try:
                yield int(runner.addresses[0][1])
            finally:
                await site.stop()
                await _cancel(tasks)
                await runner.cleanup()
                await self._storage.close()
                self._worker.stop()

    def _add(self, found: Function) -> None:
        try:
            function = found.resolved(self._settings)
            match function.trigger.kind:
                case "httpTrigger":
                    self._routes.append(build_route(function, self._host_options.route_prefix, self._routes))
                case "timerTrigger":
                    blobs = self._storage.blobs()
                    timer = TimerListener(function, self._worker, blobs, self._host_options)
                    self._listeners[function.name.lower()] = timer
                case _:
                    self._listeners[function.name.lower()] = self._queue_listener(function)
        except FunctionError as error:
            _LOG.error("the function '%s' is in error: %s", found.name, error)
            self._errors[found.name] = str(error)

    def _queue_listener(self, function: Function) -> QueueListener:
        service = self._storage.queues(str(function.trigger.settings["connection"]))
        return QueueListener(function, self._worker, service, self._host_options.queues, self._options.message_lock)

    def _server(self, functions: list[Function], session: aiohttp.ClientSession) -> web.Server:
        keys = HostKeys.load_or_create(self._options.keys_file, functions)
        names = [function.name for function in functions if function.name not in self._errors]
        admin = Admin(keys, names, self._errors, self._listeners, self._calls)
        easy_auth = EasyAuth(self._options.auth, session) if self._options.auth else None
        routes = RouteTable(self._routes)
        frontend = Frontend(self._worker, routes, keys, admin.handle, easy_auth, cut_after=self._options.cut_after)
        return web.Server(frontend.handle, request_factory=_request, access_log=None)

    def _listen(self, name: str, listener: TimerListener | QueueListener) -> asyncio.Task[None]:
        task = asyncio.ensure_future(listener.run())
        task.add_done_callback(lambda done: _log_end(name, done))
        return task


def _request(*parts: object) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(*parts, loop=loop, client_max_size=BODY_LIMIT)  # type: ignore[arg-type, misc]


def _log_end(name: str, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _LOG.error("the listener of '%s' ended", name, exc_info=task.exception())


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
