"""Clock, latency, throttling, timings, faults and counters in the control API."""

from dataclasses import asdict
from typing import Any

from aiohttp import web

from local.emulator.control.wire import Body, ControlError, done, read
from local.emulator.faults import FaultRule, Latency
from local.emulator.world import Throttling, Timings, World


class ClockBody(Body):
    """The offsets in seconds; `None` leaves one as it is."""

    offset_seconds: float | None = None
    token_offset_seconds: float | None = None


class _Conditions:
    def __init__(self, world: World) -> None:
        self._world = world

    async def show_clock(self, _request: web.Request) -> web.Response:
        clock = self._world.clock
        return web.json_response(asdict(clock) | {"now": clock.now(), "token_now": clock.token_now()})

    async def move_clock(self, request: web.Request) -> web.Response:
        body = await read(request, ClockBody)
        if body.offset_seconds is not None:
            self._world.clock.offset_seconds = body.offset_seconds
        if body.token_offset_seconds is not None:
            self._world.clock.token_offset_seconds = body.token_offset_seconds
        return await self.show_clock(request)

    async def set_latency(self, request: web.Request) -> web.Response:
        latency = await read(request, Latency)
        vaults = {name.lower(): milliseconds for name, milliseconds in latency.vaults.items()}
        self._world.faults.latency = Latency(latency.services, vaults)
        return done()

    async def set_throttling(self, request: web.Request) -> web.Response:
        self._world.throttling = await read(request, Throttling)
        return done()

    async def set_timings(self, request: web.Request) -> web.Response:
        self._world.timings = await read(request, Timings)
        return done()

    async def add_fault(self, request: web.Request) -> web.Response:
        rule = await read(request, FaultRule)
        self._world.faults.rules.append(rule)
        return web.json_response({"id": rule.id}, status=201)

    async def list_faults(self, _request: web.Request) -> web.Response:
        return web.json_response({"faults": [asdict(rule) for rule in self._world.faults.rules]})

    async def delete_faults(self, _request: web.Request) -> web.Response:
        self._world.faults.rules.clear()
        return done()

    async def delete_fault(self, request: web.Request) -> web.Response:
        rules = self._world.faults.rules
        found = [rule for rule in rules if rule.id == request.match_info["id"]]
        if not found:
            raise ControlError(404, "NotFound", f"There is no fault '{request.match_info['id']}'.")
        rules.remove(found[0])
        return done()

    async def show_counters(self, _request: web.Request) -> web.Response:
        rows: list[dict[str, Any]] = self._world.counters.rows()
        return web.json_response({"total": sum(row["count"] for row in rows), "requests": rows})

    async def clear_counters(self, _request: web.Request) -> web.Response:
        self._world.counters.clear()
        return done()


def routes(world: World) -> list[web.RouteDef]:
    """Return the routes of the conditions."""
    conditions = _Conditions(world)
    return [
        web.get("/control/clock", conditions.show_clock),
        web.put("/control/clock", conditions.move_clock),
        web.put("/control/latency", conditions.set_latency),
        web.put("/control/throttling", conditions.set_throttling),
        web.put("/control/timings", conditions.set_timings),
        web.post("/control/faults", conditions.add_fault),
        web.get("/control/faults", conditions.list_faults),
        web.delete("/control/faults", conditions.delete_faults),
        web.delete("/control/faults/{id}", conditions.delete_fault),
        web.get("/control/counters", conditions.show_counters),
        web.delete("/control/counters", conditions.clear_counters),
    ]
