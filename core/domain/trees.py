"""The nodes of a B-link tree and what may be done to them; pure, so that an adapter only reads and writes rows.

Invariants:
- A node covers the keys in [low, high); `high` is None at the right edge. `next` is the node that covers from `high`.
- Level 0 holds the entries. A node of level n holds `lowest key of a child -> id of the child`, and its first key is
  its own `low`.
- A node keeps its id and its `low` for ever. A split moves the upper part of it to new nodes on its right; an emptied
  leaf takes over its right neighbour, whose id is never used again. So whoever arrives by an old link is at the right
  node, or to the left of it, or at a node that is gone and whose keys now belong to the left.
- An empty leaf is the last of its tree.
"""

import bisect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

type Entries[V] = tuple[tuple[str, V], ...]

type Edit[V] = Callable[[V | None], V | None]
"""What becomes of the value at a key; None stands for no entry."""


@dataclass(frozen=True, slots=True)
class At:
    """The position of `key` and of what follows it."""

    key: str


@dataclass(frozen=True, slots=True)
class Below:
    """The position just below `key` (None: the end of the tree) and of what precedes it."""

    key: str | None


type Position = At | Below


@dataclass(frozen=True, slots=True)
class Node[V]:
    """One node; `entries` are sorted by key (code points)."""

    level: int
    low: str
    high: str | None
    next: str | None
    entries: Entries[V]


EMPTY_ROOT: Node[Any] = Node(0, "", None, None, ())


def lies_right(position: Position, node: Node[Any]) -> bool:
    """Whether `position` belongs to a node on the right of `node`."""
    if node.high is None:
        return False
    if isinstance(position, At):
        return position.key >= node.high
    return position.key is None or position.key > node.high


def lies_left(position: Position, node: Node[Any]) -> bool:
    """Whether `position` belongs to a node on the left of `node`."""
    if isinstance(position, At):
        return position.key < node.low
    return position.key is not None and position.key <= node.low


def child(node: Node[str], position: Position) -> tuple[str, str]:
    """Return the separator and the id of the child to go on with; `position` must not lie left of the node."""
    if isinstance(position, Below) and position.key is None:
        return node.entries[-1]
    cut = bisect.bisect_right if isinstance(position, At) else bisect.bisect_left
    return node.entries[max(0, cut(node.entries, position.key or "", key=_key) - 1)]


def entries_from[V](node: Node[V], position: Position) -> Entries[V]:
    """Return the node's entries in reading order: upwards from an `At`, downwards from a `Below`."""
    if isinstance(position, At):
        return node.entries[bisect.bisect_left(node.entries, position.key, key=_key) :]
    if position.key is None:
        return node.entries[::-1]
    return node.entries[: bisect.bisect_left(node.entries, position.key, key=_key)][::-1]


def onward(node: Node[Any], position: Position) -> Position | None:
    """Return where reading goes on behind the node; None at the end of the tree."""
    if isinstance(position, At):
        return None if node.high is None else At(node.high)
    return Below(node.low) if node.low else None


def value_at[V](node: Node[V], key: str) -> V | None:
    """Return the value at exactly `key`."""
    index = bisect.bisect_left(node.entries, key, key=_key)
    if index < len(node.entries) and node.entries[index][0] == key:
        return node.entries[index][1]
    return None


def edited[V](node: Node[V], edits: Mapping[str, Edit[V]]) -> Entries[V]:
    """Return the node's entries after `edits`, which must lie in the node."""
    values = dict(node.entries)
    for key, edit in edits.items():
        value = edit(values.get(key))
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value
    entries = tuple(sorted(values.items(), key=_key))
    return entries if node.level == 0 else tuple(_first_links(entries))


def put[V](value: V) -> Edit[V]:
    """Return the edit that stores `value`."""
    return lambda _: value


def delete[V](_: V | None) -> V | None:
    """Leave no entry; an edit itself."""
    return None


def link(child_id: str) -> Edit[str]:
    """Return the edit of a parent that makes a child known."""
    return put(child_id)


def relink(dead: str, heir: str) -> Edit[str]:
    """Return the edit of a parent that gives a dead child's keys to the node that took them over."""
    # Another writer may have put a newer child there, which must stay.
    return lambda present: heir if present == dead else present


def split[V](
    node: Node[V], entries: Entries[V], capacity: int, new_id: Callable[[], str]
) -> tuple[Node[V], dict[str, Node[V]]]:
    """Divide `entries`, too many for `node`, over it and new right siblings; return it and the siblings by id."""
    parts = tuple(_parts(node, entries, capacity))
    lows = [node.low, *(_separator(node.level, left, right) for left, right in itertools.pairwise(parts))]
    ids = [new_id() for _ in parts[1:]]
    nexts = [*ids, node.next]
    highs = [*lows[1:], node.high]
    nodes = [
        Node(node.level, low, high, next_, part)
        for low, high, next_, part in zip(lows, highs, nexts, parts, strict=True)
    ]
    return nodes[0], dict(zip(ids, nodes[1:], strict=True))


def raised(nodes: Mapping[str, Node[Any]]) -> Node[str]:
    """Return the root above `nodes`, which are a whole level from left to right."""
    level = 1 + max(node.level for node in nodes.values())
    return Node(level, "", None, None, tuple((node.low, id_) for id_, node in nodes.items()))


def absorbed[V](node: Node[V], right: Node[V]) -> Node[V]:
    """Return the emptied `node` after it took over its right neighbour's keys."""
    return replace(right, low=node.low)


def _key(entry: tuple[str, Any]) -> str:
    return entry[0]


def _first_links[V](entries: Entries[V]) -> Iterator[tuple[str, V]]:
    # A child's keys are one run: once it is linked, links to it further on only lead back to it.
    seen = set()
    for entry in entries:
        if entry[1] not in seen:
            seen.add(entry[1])
            yield entry


def _parts[V](node: Node[V], entries: Entries[V], capacity: int) -> Iterator[Entries[V]]:
    count = -(-len(entries) // capacity)
    # Keys that only ever grow would leave every node half empty if the last one were cut in the middle.
    size = capacity if _appends(node, entries) else -(-len(entries) // count)
    for start in range(0, len(entries), size):
        yield entries[start : start + size]


def _appends[V](node: Node[V], entries: Entries[V]) -> bool:
    before = len(node.entries)
    return node.high is None and (before == 0 or entries[before - 1][0] == node.entries[-1][0])


def _separator(level: int, left: Sequence[tuple[str, Any]], right: Sequence[tuple[str, Any]]) -> str:
    """Return the shortest key above all of `left` and not above any of `right`; a parent's must be a child's `low`."""
    first = right[0][0]
    if level:
        return first
    last = left[-1][0]
    shared = next((i for i, (a, b) in enumerate(zip(last, first, strict=False)) if a != b), len(last))
    return first[: shared + 1]
