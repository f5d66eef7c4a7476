"""The rules of tree nodes, one by one."""

import itertools
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.trees import (
    EMPTY_ROOT,
    At,
    Below,
    Edit,
    Entries,
    Node,
    Position,
    absorbed,
    child,
    delete,
    edited,
    entries_from,
    lies_left,
    lies_right,
    link,
    onward,
    put,
    raised,
    relink,
    split,
    value_at,
)

LEAF: Node[int] = Node(0, "d", "m", "right", (("d", 1), ("f", 2), ("h", 3)))
INNER: Node[str] = Node(1, "d", "m", "right", (("d", "one"), ("f", "two"), ("h", "three")))


def numbered() -> Callable[[], str]:
    count = itertools.count(1)
    return lambda: f"new-{next(count)}"


@pytest.mark.parametrize(
    ("position", "left", "right"),
    [
        (At("c"), True, False),
        (At("d"), False, False),
        (At("lzz"), False, False),
        (At("m"), False, True),
        (Below("d"), True, False),
        (Below("d\0"), False, False),
        (Below("m"), False, False),
        (Below("m\0"), False, True),
        (Below(None), False, True),
    ],
)
def test_where_a_position_lies(position: Position, *, left: bool, right: bool) -> None:
    assert (lies_left(position, LEAF), lies_right(position, LEAF)) == (left, right)


def test_nothing_lies_beside_a_root() -> None:
    for position in (At(""), At("z"), Below(None), Below("z")):
        assert not lies_left(position, EMPTY_ROOT)
        assert not lies_right(position, EMPTY_ROOT)


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (At("d"), "one"),
        (At("e"), "one"),
        (At("f"), "two"),
        (At("z"), "three"),
        (Below("f"), "one"),
        (Below("f\0"), "two"),
        (Below(None), "three"),
        (Below(""), "one"),
    ],
)
def test_which_child_a_position_leads_to(position: Position, expected: str) -> None:
    assert child(INNER, position)[1] == expected


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (At("a"), "dfh"),
        (At("f"), "fh"),
        (At("g"), "h"),
        (At("i"), ""),
        (Below("f"), "d"),
        (Below("g"), "fd"),
        (Below("d"), ""),
        (Below(None), "hfd"),
    ],
)
def test_what_is_read_from_a_position(position: Position, expected: str) -> None:
    assert "".join(key for key, _ in entries_from(LEAF, position)) == expected


def test_where_reading_goes_on() -> None:
    assert onward(LEAF, At("e")) == At("m")
    assert onward(LEAF, Below("e")) == Below("d")
    assert onward(EMPTY_ROOT, At("e")) is None
    assert onward(EMPTY_ROOT, Below("e")) is None


@pytest.mark.parametrize(("key", "value"), [("d", 1), ("f", 2), ("e", None), ("z", None)])
def test_value_at_a_key(key: str, value: int | None) -> None:
    assert value_at(LEAF, key) == value


def test_edits_of_a_leaf() -> None:
    edits: Mapping[str, Edit[int]] = {"e": put(9), "d": delete, "f": put(8), "g": delete}
    assert edited(LEAF, edits) == (("e", 9), ("f", 8), ("h", 3))


def test_edits_of_a_parent() -> None:
    assert edited(INNER, {"k": link("four")})[-1] == ("k", "four")
    # The heir's keys are one run, for which the first separator is enough.
    assert edited(INNER, {"f": relink("two", "one")}) == (("d", "one"), ("h", "three"))
    assert edited(INNER, {"k": link("one")}) == INNER.entries
    # The first separator stays: it is the lowest key of the node itself.
    assert edited(INNER, {"d": relink("one", "heir")})[0] == ("d", "heir")


def test_a_late_relink_leaves_a_newer_child() -> None:
    assert edited(INNER, {"f": relink("dead", "one")}) == INNER.entries
    assert edited(INNER, {"g": relink("dead", "one")}) == INNER.entries


def test_a_node_keeps_its_place_when_it_takes_over_another() -> None:
    right = Node(0, "m", "t", "further", (("n", 4),))
    assert absorbed(LEAF, right) == Node(0, "d", "t", "further", (("n", 4),))


def test_a_leaf_is_split_evenly_at_the_shortest_separator() -> None:
    entries = tuple((key, 0) for key in ("da", "dabc", "dabd", "dazzle", "e"))
    left, siblings = split(LEAF, entries, 4, numbered())
    assert left == Node(0, "d", "daz", "new-1", entries[:3])
    assert siblings == {"new-1": Node(0, "daz", "m", "right", entries[3:])}


def test_growth_at_the_right_edge_fills_the_nodes() -> None:
    edge = Node(0, "d", None, None, LEAF.entries)
    left, siblings = split(edge, (*LEAF.entries, ("i", 4), ("j", 5), ("k", 6)), 4, numbered())
    assert [len(node.entries) for node in (left, *siblings.values())] == [4, 2]


def test_growth_in_the_middle_leaves_room() -> None:
    edge = Node(0, "d", None, None, LEAF.entries)
    left, siblings = split(edge, (("d", 1), ("da", 0), ("db", 0), ("dc", 0), ("f", 2), ("h", 3)), 4, numbered())
    assert [len(node.entries) for node in (left, *siblings.values())] == [3, 3]


def test_a_parent_is_split_at_a_child() -> None:
    entries = tuple((f"key-{number}", f"child-{number}") for number in range(6))
    _, siblings = split(Node(1, "a", "z", None, entries), entries, 3, numbered())
    assert [node.low for node in siblings.values()] == ["key-3"]


def test_a_root_is_raised_above_its_parts() -> None:
    left, siblings = split(EMPTY_ROOT, (("a", 1), ("b", 2), ("c", 3)), 2, numbered())
    assert raised({"left": left, **siblings}) == Node(1, "", None, None, (("", "left"), ("c", "new-1")))


@given(
    keys=st.sets(st.text(max_size=5), min_size=2, max_size=40),
    old=st.integers(0, 40),
    capacity=st.integers(2, 8),
    at_edge=st.booleans(),
    level=st.integers(0, 1),
)
def test_any_split_covers_the_node_and_keeps_every_entry(
    keys: set[str], old: int, capacity: int, level: int, *, at_edge: bool
) -> None:
    entries: Entries[str] = tuple((key, f"v{key}") for key in sorted(keys))
    high, right = (None, None) if at_edge else (entries[-1][0] + "\0", "right")
    node = Node(level, entries[0][0], high, right, entries[:old])
    left, siblings = split(node, entries, capacity, numbered())
    nodes = [left, *siblings.values()]
    assert tuple(entry for part in nodes for entry in part.entries) == entries
    assert [part.next for part in nodes] == [*siblings, right]
    assert (nodes[0].low, nodes[-1].high) == (node.low, high)
    for part, following in itertools.pairwise(nodes):
        assert part.high == following.low
        assert part.entries[-1][0] < following.low <= following.entries[0][0]
    assert all(0 < len(part.entries) <= capacity for part in nodes)
    assert level == 0 or all(part.low == part.entries[0][0] for part in nodes)
