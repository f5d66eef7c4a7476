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
    group_position,
    group_tree,
    replaced_position,
    to_entry,
)
from core.ports import OrderedIndex

type _Changes = dict[str, Mapping[str, object] | None]


@dataclass(frozen=True, slots=True)
class Placing:
    """An entry to place; `before` is the one so far. `replaced`: a purged key whose Azure name another key has."""

    summary: KeySummary
    before: KeySummary | None = None
    replaced: bool = False


class KeyPlaces:
    """Moves keys to where they belong in lists."""

    def __init__(self, index: OrderedIndex) -> None:
        self._index = index

    async def place(self, account: str, group: str, placings: Iterable[Placing]) -> None:
        """Place keys of one group; their records have been written."""
        trees: dict[str, _Changes] = defaultdict(dict)
        last: _Changes = {}
        for placing in placings:
            entry = to_entry(placing.summary)
            if placing.before is not None:
                for tree, position in account_positions(account, placing.before).items():
                    trees[tree].setdefault(position, None)
            for tree, position in account_positions(account, placing.summary).items():
                trees[tree][position] = entry
            place = replaced_position if placing.replaced else group_position
            last[place(placing.summary)] = entry
        await asyncio.gather(*(self._index.apply(tree, moved) for tree, moved in trees.items()))
        await self._index.apply(group_tree(group), last)
