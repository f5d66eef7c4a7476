"""Names with one holder: the insert of a row decides between two who want the same one."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime

from core.domain.reservations import Reservation
from core.errors import AlreadyExistsError, StaleWriteError
from core.ports import Clock, Collection

_TRIES = 4


class Reservations:
    """Reserves names of any kind; what a crash left over is taken over after a while if it is not in use."""

    def __init__(self, rows: Collection[Reservation], clock: Clock) -> None:
        self._rows = rows
        self._clock = clock

    async def take(self, account: str, id_: str, holder: str, in_use: Callable[[Reservation], Awaitable[bool]]) -> bool:
        """Reserve `id_` for `holder`, from now on if it has it already; False if another holds it."""
        reservation = Reservation(holder, self._clock.now())
        for _ in range(_TRIES):
            with suppress(AlreadyExistsError):
                await self._rows.insert(account, id_, reservation)
                return True
            held = await self._rows.get(account, id_)
            if held is None:
                continue
            own = held.value.holder == holder
            if not own and not held.value.left_over(self._clock.now(), in_use=await in_use(held.value)):
                return False
            with suppress(StaleWriteError):
                await self._rows.replace(account, id_, reservation, held.etag)
                return True
        return False

    async def holder(self, account: str, id_: str) -> str | None:
        """Return who holds `id_`, be it left over or not."""
        held = await self._rows.get(account, id_)
        return held.value.holder if held else None

    async def is_free(
        self, account: str, id_: str, holder: str, in_use: Callable[[Reservation], Awaitable[bool]]
    ) -> bool:
        """Whether `take` would succeed now."""
        held = await self._rows.get(account, id_)
        if held is None or held.value.holder == holder:
            return True
        return held.value.left_over(self._clock.now(), in_use=await in_use(held.value))

    async def release_older(self, account: str, id_: str, than: datetime) -> None:
        """Give `id_` back if it was reserved by `than`, whoever holds it."""
        held = await self._rows.get(account, id_)
        if held is not None and held.value.reserved_on <= than:
            with suppress(StaleWriteError):
                await self._rows.delete(account, id_, held.etag)

    async def release(self, account: str, id_: str, holder: str) -> None:
        """Give `id_` back if `holder` has it."""
        held = await self._rows.get(account, id_)
        if held is not None and held.value.holder == holder:
            with suppress(StaleWriteError):
                await self._rows.delete(account, id_, held.etag)
