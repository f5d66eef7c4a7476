"""A request under an idempotency key: done once, then answered as before.

Invariant: an answer that blames the server is not kept, so that the request can be made again.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from core import correlation
from core.errors import KeystewardError
from core.services.idempotency import Attempt, Idempotency, Scope
from functions import logs
from functions.answers import Rendered, render, render_problem
from functions.operations import Answer

_SERVER_FAULT = 500

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Once:
    """One request: whose key it came under, and what it asked."""

    idempotency: Idempotency
    scope: Scope
    fingerprint: str

    async def rendered(self, work: Callable[[str], Awaitable[Answer]], status: int) -> Rendered:
        """Do `work`, which learns the request's name, and return its answer, or the one that was given before."""
        attempt = await self.idempotency.begin(self.scope, self.fingerprint)
        if attempt.replay is not None:
            return Rendered.replayed(attempt.replay)
        try:
            rendered = render(await work(attempt.request), status)
        except KeystewardError as error:
            rendered = render_problem(error, correlation.current.get())
        except Exception:
            await self._settle(attempt, None)
            raise
        await self._settle(attempt, rendered if rendered.status < _SERVER_FAULT else None)
        return rendered

    async def _settle(self, attempt: Attempt, rendered: Rendered | None) -> None:
        """Keep the answer, or forget the attempt; the caller gets its answer even if that fails."""
        try:
            if rendered is None:
                await self.idempotency.abandon(attempt)
            else:
                await self.idempotency.finish(attempt, rendered.kept())
        except KeystewardError as error:
            logs.event(_log, logging.WARNING, "idempotent answer not kept", code=error.code)
