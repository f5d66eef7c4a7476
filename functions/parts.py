"""Pages of what belongs to one record and was read with it: versions, drift, history."""

import re
from collections.abc import Callable, Sequence

from functions.models.base import AnswerModel, Page
from functions.operations import Answer
from functions.paging import PageQuery, encoded, invalid_cursor


def page_of[Part, Item: AnswerModel](
    query: PageQuery, oldest_first: Sequence[Part], show: Callable[[Part], Item], page: type[Page[Item]]
) -> Answer:
    """Answer a page of parts, newest first."""
    items, following = newest_of(query, oldest_first)
    return Answer(page(items=tuple(map(show, items)), next=following))


def newest_of[Part](query: PageQuery, oldest_first: Sequence[Part]) -> tuple[list[Part], str | None]:
    """Return a page's parts, newest first, and its `next`, which counts from the oldest: new parts do not shift it."""
    stop = _count(query.after, len(oldest_first))
    start = max(0, stop - query.limit)
    return list(reversed(oldest_first[start:stop])), encoded(str(start)) if start else None


def _count(position: str | None, total: int) -> int:
    if position is None:
        return total
    if not re.fullmatch(r"[0-9]{1,6}", position, re.ASCII):
        raise invalid_cursor()
    return min(int(position), total)
