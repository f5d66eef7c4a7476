"""What has to be true of the lists of keys, whatever was cut off or met on the way."""

from collections.abc import Iterable

from core.domain.summaries import (
    KeySummary,
    account_positions,
    from_entry,
    group_position,
    group_tree,
    replaced_position,
    summary_of,
    summary_of_source,
)
from core.ports import OrderedIndex
from tests.builders.keys import ACCOUNT, GROUP
from tests.builders.syncs import SyncStage


async def check_lists(stage: SyncStage, groups: Iterable[str] = (GROUP,)) -> None:
    """Every key is where it belongs in every list, as it is, and nothing else is there."""
    expected: dict[str, dict[str, KeySummary]] = {}
    for group in groups:
        summaries = [summary_of(stored.value) async for _, stored in stage.key_rows.scan(group)]
        summaries += [summary_of_source(stored.value) async for _, stored in stage.source_rows.scan(group)]
        listed = await entries(stage.index, group_tree(group))
        for summary in summaries:
            place = group_position(summary)
            if place in listed and listed[place].id != summary.id:
                place = replaced_position(summary)
            assert listed.get(place) == summary, f"{summary.name} in its group's list"
            for tree, position in account_positions(ACCOUNT, summary).items():
                expected.setdefault(tree, {})[position] = summary
        assert len(listed) == len(summaries)
    for tree, places in expected.items():
        assert await entries(stage.index, tree) == places, tree


async def entries(index: OrderedIndex, tree: str) -> dict[str, KeySummary]:
    """Return all that a tree of keys holds, by place."""
    return {place: from_entry(entry) async for leaf in index.leaves(tree) for place, entry in leaf}
