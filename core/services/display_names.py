"""Who has which name in an account: the insert of a row decides between two who want the same one.

Invariants: a name in use is that of a key in the account's tree by name, or was reserved lately by somebody who is
about to use it; what a crash left over is taken over after a while.
"""

import hashlib
from collections.abc import Container
from datetime import datetime

from core.domain.key_names import copy_name, folded
from core.domain.keys import Presence
from core.domain.reservations import Reservation
from core.domain.summaries import name_tree
from core.errors import ConflictError
from core.ports import OrderedIndex
from core.services.reservations import Reservations

_SUGGESTIONS = 1_000
#: One name's keys in the tree by name: one in use at most, and tombstones.
_NAMESAKES = 100


class DisplayNames:
    """Display names of keys that somebody chose, and Azure names that are about to be taken."""

    def __init__(self, reservations: Reservations, index: OrderedIndex) -> None:
        self._reservations = reservations
        self._index = index

    async def reserve(self, account: str, name: str, holder: str, field: str = "name") -> None:
        """Reserve a display name for `holder`; ConflictError `key_display_name_taken`."""
        id_ = _display(name)
        # A key in the tree has its name, reserved or not; but the holder's own key may be there already.
        own = await self._reservations.holder(account, id_) == holder
        taken = not own and await self.in_use(account, name)
        if taken or not await self._reservations.take(account, id_, holder, lambda _: self.in_use(account, name)):
            raise ConflictError("Another key of the account has this name.", code="key_display_name_taken", field=field)

    async def reserve_in_vault(self, account: str, group: str, azure_name: str, holder: str) -> bool:
        """Reserve an Azure name while a key is being made under it; False if another request is at that."""
        return await self._reservations.take(account, _azure(group, azure_name), holder, _never)

    async def release(self, account: str, name: str, holder: str) -> None:
        """Give a display name back."""
        await self._reservations.release(account, _display(name), holder)

    async def bury(self, account: str, name: str, recorded_on: datetime) -> None:
        """Give back the display name of a key that was recorded on that date and is destroyed now."""
        await self._reservations.release_older(account, _display(name), recorded_on)

    async def release_in_vault(self, account: str, group: str, azure_name: str, holder: str) -> None:
        """End the reservation of an Azure name."""
        await self._reservations.release(account, _azure(group, azure_name), holder)

    async def in_use(self, account: str, name: str) -> bool:
        """Whether a key of the account has the display name."""
        position = f"{folded(name)}\x00"
        page = await self._index.page(name_tree(account), start=position, limit=_NAMESAKES)
        # What is left of a destroyed key does not keep its name.
        return any(
            found.startswith(position) and entry["presence"] != Presence.DESTROYED.value
            for found, entry in page.entries
        )

    async def suggest(
        self, account: str, name: str, *, first: int = 1, taken: Container[str] = (), holder: str = ""
    ) -> str:
        """Return the next `<name>_copy<n>` from n = `first` on that `holder` can have and `taken` (folded) has not."""
        for number in range(first, first + _SUGGESTIONS):
            suggested = copy_name(name, number)
            if folded(suggested) in taken or await self.in_use(account, suggested):
                continue
            if await self._reservations.is_free(account, _display(suggested), holder, _never):
                return suggested
        raise ConflictError("All suggested names are taken; give one.", code="key_display_name_taken", field="name")


async def _never(_: Reservation) -> bool:
    return False


def _display(name: str) -> str:
    return f"key-{_digest(folded(name))}"


def _azure(group: str, azure_name: str) -> str:
    return f"azure-{_digest(f'{group}/{azure_name.lower()}')}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
