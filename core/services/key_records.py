"""Writes key records and keeps the ordered indexes true to them.

Invariant: the record is written first, then the account's trees, and the group's tree last. A sync compares the vault
with the group's tree, so whatever was cut off in between is found changed by the next sync and written again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core.domain.keys import VirtualKey
from core.domain.summaries import (
    KeySummary,
    account_positions,
    group_position,
    group_tree,
    replaced_position,
    summary_of,
    to_entry,
)
from core.ports import Collection, OrderedIndex

type _Changes = dict[str, Mapping[str, object] | None]


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A record to write: `before` is its index entry so far, `etag` None for a new row.

    `replaced` marks a purged key whose Azure name another key has taken.
    """

    key: VirtualKey
    before: KeySummary | None = None
    etag: str | None = None
    replaced: bool = False


class KeyRecords:
    """The records of keys, and their places in lists."""

    def __init__(self, keys: Collection[VirtualKey], index: OrderedIndex) -> None:
        self.keys = keys
        self._index = index

    async def write(self, account: str, group: str, changes: Iterable[KeyChange]) -> set[str]:
        """Write records of one group and index those written; return the ids that were refused as stale or taken."""
        by_id = {change.key.id: change for change in changes}
        if not by_id:
            return set()
        rows = {id_: (change.key, change.etag) for id_, change in by_id.items()}
        refused = await self.keys.write_many(group, rows)
        await self._place(account, group, [change for id_, change in by_id.items() if id_ not in refused])
        return refused

    async def _place(self, account: str, group: str, changes: list[KeyChange]) -> None:
        trees: dict[str, _Changes] = defaultdict(dict)
        last: _Changes = {}
        for change in changes:
            summary = summary_of(change.key)
            entry = to_entry(summary)
            if change.before is not None:
                for tree, position in account_positions(account, change.before).items():
                    trees[tree].setdefault(position, None)
            for tree, position in account_positions(account, summary).items():
                trees[tree][position] = entry
            last[replaced_position(summary) if change.replaced else group_position(summary)] = entry
        await asyncio.gather(*(self._index.apply(tree, moved) for tree, moved in trees.items()))
        await self._index.apply(group_tree(group), last)
