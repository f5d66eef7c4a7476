"""The places of keys in the ordered indexes, of virtual and of source keys alike.

Invariant: a key's record is written first, then the account's trees, and the group's tree last. A sync compares the
vault with the group's tree, so whatever was cut off in between is found changed by the next sync and written again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core.domain.summaries import (
    KeySummary,
    account_positions,
    from_entry,
    group_position,
    group_tree,
    replaced_position,
    to_entry,
)
from core.ports import OrderedIndex

type _Changes = dict[str, Mapping[str, object] | None]


@dataclass(frozen=True, slots=True)
class Placing:
    """An entry to place; `before` is the one so far. `replaced`: a purged key whose Azure name another key has.

    `recorded` is the entry of the record that was written over. It differs from `before` where a write was cut off
    between record and lists; some of them may have it, or none. `returned`: it may stand among the replaced so far.
    """

    summary: KeySummary
    before: KeySummary | None = None
    replaced: bool = False
    recorded: KeySummary | None = None
    returned: bool = False


class KeyPlaces:
    """Moves keys to where they belong in lists."""

    def __init__(self, index: OrderedIndex) -> None:
        self._index = index

    async def listed(self, group: str, like: KeySummary) -> KeySummary | None:
        """Return the entry of a key as its group's list shows it: what was placed last, but for a write cut off."""
        found = await self.holder(group, like)
        return found if found is not None and found.id == like.id else None

    async def holder(self, group: str, like: KeySummary) -> KeySummary | None:
        """Return the entry at a key's place in its group's list: its own, or that of another with its Azure name."""
        entry = await self._index.get(group_tree(group), group_position(like))
        return from_entry(entry) if entry is not None else None

    async def among_replaced(self, group: str, like: KeySummary) -> KeySummary | None:
        """Return the entry of a key whose Azure name another key has taken."""
        entry = await self._index.get(group_tree(group), replaced_position(like))
        return from_entry(entry) if entry is not None else None

    async def place(self, account: str, group: str, placings: Iterable[Placing]) -> None:
        """Place keys of one group; their records have been written."""
        trees: dict[str, _Changes] = defaultdict(dict)
        last: _Changes = {}
        for placing in placings:
            entry = to_entry(placing.summary)
            for left in filter(None, (placing.before, placing.recorded)):
                for tree, position in account_positions(account, left).items():
                    trees[tree].setdefault(position, None)
            for tree, position in account_positions(account, placing.summary).items():
                trees[tree][position] = entry
            place = replaced_position if placing.replaced else group_position
            last[place(placing.summary)] = entry
            if placing.returned:
                last[replaced_position(placing.summary)] = None
        await asyncio.gather(*(self._index.apply(tree, moved) for tree, moved in trees.items()))
        await self._index.apply(group_tree(group), last)
