"""What drills restore into scratch vaults: written down before it is there, and until it is purged.

Invariants: a copy is in the list before its vault is asked for it and leaves it only when the vault shows it no more;
only what carries the copy's own version ids is deleted and purged. That a vault does not show a copy is believed when
it was purged just now, or a while after the last request about it: a vault shows nothing, too, while it restores,
deletes or purges.
"""

from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

from core.domain.keys import VirtualKey
from core.errors import ConflictError, NotFoundError
from core.ports import Clock, OrderedIndex, VaultKeys
from core.services.due_times import DueTimes, position
from core.services.waiting import awaited

#: A vault shows a deletion or a restore after some 10 to 30 seconds.
SETTLED_AFTER = timedelta(seconds=90)
_UNDER_WAY = frozenset({"key_being_deleted", "key_being_recovered", "vault_conflict"})


@dataclass(frozen=True, slots=True)
class ScratchCopy:
    """One key restored, or about to be, into the vault of the group `scratch`.

    `oldest` and `newest` are ids of its versions: a live key shows all, a soft-deleted one its newest alone.
    """

    account: str
    job: str
    group: str
    key: str
    azure_name: str
    scratch: str
    oldest: str
    newest: str
    opened_on: datetime
    touched_on: datetime

    @property
    def id(self) -> str:
        """What tells it from other copies."""
        return f"{self.scratch}/{self.key}"


class Seen(Enum):
    """What a scratch vault shows under a copy's name."""

    NOTHING = auto()
    LIVE = auto()
    DELETED = auto()
    ANOTHER = auto()


class ScratchCopies:
    """The list of copies that are, or may be, in scratch vaults; short, because they stay for a minute or two."""

    def __init__(self, index: OrderedIndex, clock: Clock) -> None:
        self._open = DueTimes(index, "scratch-copies")
        self._clock = clock

    def draft(self, job: str, key: VirtualKey, scratch: str, versions: tuple[str, ...]) -> ScratchCopy:
        """Return a copy that nobody knows of yet; `versions` are those of its backup, oldest first."""
        now = self._clock.now()
        return ScratchCopy(
            key.account, job, key.group, key.id, key.azure_name, scratch, versions[0], versions[-1], now, now
        )

    async def open(self, copy: ScratchCopy) -> None:
        """Write a copy down that is about to be restored."""
        await self._write(copy)

    async def touch(self, copy: ScratchCopy, newest: str | None = None) -> ScratchCopy:
        """Note that its vault is about to be asked to change it."""
        touched = replace(copy, touched_on=self._clock.now(), newest=newest or copy.newest)
        await self._write(touched)
        return touched

    async def close(self, copy: ScratchCopy) -> None:
        """Forget a copy that is there no more."""
        await self._open.done(position(copy.opened_on, copy.id))

    async def all(self) -> AsyncIterator[ScratchCopy]:
        """Yield every copy, oldest first."""
        async for _, entry in self._open.due(datetime.max.replace(tzinfo=UTC)):
            yield _copy(entry)

    async def of_job(self, job: str) -> list[ScratchCopy]:
        """Return the copies of one drill."""
        return [copy async for copy in self.all() if copy.job == job]

    async def names_in(self, group: str) -> frozenset[str]:
        """Return the names, in lower case, that copies have in a group's vault: no keys of the group."""
        return frozenset([copy.azure_name.lower() async for copy in self.all() if copy.scratch == group])

    def is_settled(self, copy: ScratchCopy) -> bool:
        """Whether the last request about a copy must show by now."""
        return abs(self._clock.now() - copy.touched_on) >= SETTLED_AFTER

    async def _write(self, copy: ScratchCopy) -> None:
        times = {"opened_on": copy.opened_on.isoformat(), "touched_on": copy.touched_on.isoformat()}
        await self._open.plan(copy.opened_on, copy.id, {**asdict(copy), **times})


async def look(keys: VaultKeys, copy: ScratchCopy) -> tuple[Seen, str]:
    """Return what a vault shows under a copy's name, and the id of the newest version."""
    try:
        versions = sorted(await keys.list_versions(copy.azure_name), key=lambda version: version.created_on)
    except NotFoundError:
        versions = []
    if versions:
        ours = any(version.id == copy.oldest for version in versions)
        return (Seen.LIVE if ours else Seen.ANOTHER), versions[-1].id
    try:
        _, newest = await keys.get_deleted(copy.azure_name)
    except NotFoundError:
        return Seen.NOTHING, ""
    return (Seen.DELETED if newest.id in {copy.oldest, copy.newest} else Seen.ANOTHER), newest.id


async def clear(keys: VaultKeys, copies: ScratchCopies, copy: ScratchCopy, seconds: float) -> None:
    """Delete and purge a copy, and return when its vault shows it no more.

    Raises ConflictError `purge_protected`, StillWorkingError after so many seconds, and the errors of the vault.
    """
    purged = False

    async def step() -> bool | None:
        nonlocal copy, purged
        seen, newest = await look(keys, copy)
        if seen is Seen.NOTHING:
            return True if purged or copies.is_settled(copy) else None
        if seen is Seen.LIVE:
            copy, purged = await copies.touch(copy, newest), False
            await _asked(keys.delete(copy.azure_name))
        elif seen is Seen.DELETED:
            purged = await _asked(keys.purge(copy.azure_name))
        return True if seen is Seen.ANOTHER else None

    await awaited(step, seconds)


async def _asked(request: Awaitable[object]) -> bool:
    """Send what ends a copy; False where the vault is at something else with it."""
    try:
        await request
    except NotFoundError:
        # A repeated request finds its work done.
        return True
    except ConflictError as error:
        if error.code not in _UNDER_WAY:
            raise
        return False
    return True


def _copy(entry: Mapping[str, object]) -> ScratchCopy:
    texts = {name: str(value) for name, value in entry.items() if name not in {"opened_on", "touched_on"}}
    opened, touched = (datetime.fromisoformat(str(entry[name])) for name in ("opened_on", "touched_on"))
    return ScratchCopy(**texts, opened_on=opened, touched_on=touched)
