"""Counts the app's calls out of the process, and kills the process at a chosen one.

Only calls that the app makes through aiohttp count (the SDKs' transport): not those of the host for its own queues,
timers and tokens. The kill is `os._exit`: no cleanup of any kind runs, as in a real crash.
"""

import os
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from local.host.worker import INSIDE_APP

EXIT_CODE = 137


@dataclass
class OutgoingCalls:
    """How many calls the app made, and the call at which the process dies (None: never)."""

    made: int = 0
    fatal_call: int | None = None
    moment: Literal["before", "after"] = "before"

    def crash_at(self, calls_from_now: int, moment: Literal["before", "after"]) -> None:
        """Die at the nth call from now: before it is sent, or after its answer has arrived."""
        self.fatal_call, self.moment = self.made + calls_from_now, moment

    def die_if_due(self, call: int, moment: Literal["before", "after"]) -> None:
        """End the process if this is the call and the moment."""
        if call == self.fatal_call and moment == self.moment:
            os._exit(EXIT_CODE)


def watch_outgoing_calls() -> OutgoingCalls:
    """Patch aiohttp's client in this process and return the counter."""
    calls = OutgoingCalls()
    send = aiohttp.ClientSession._request  # noqa: SLF001 - the one place through which every request passes

    async def counted(session: aiohttp.ClientSession, *args: Any, **kwargs: Any) -> aiohttp.ClientResponse:  # noqa: ANN401
        if not INSIDE_APP.get():
            return await send(session, *args, **kwargs)
        calls.made += 1
        call = calls.made
        calls.die_if_due(call, "before")
        response = await send(session, *args, **kwargs)
        calls.die_if_due(call, "after")
        return response

    setattr(aiohttp.ClientSession, send.__name__, counted)
    return calls
