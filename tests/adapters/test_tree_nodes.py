"""How nodes lie in storage, which is for ever."""

import json

import pytest

from core.adapters.tree_nodes import decoded, encoded, root_id
from core.domain.trees import Node
from core.errors import IntegrityError

NODE = Node(0, "a", None, "right", (("a", {"n": 1, "t": ["é"]}), ("b", {})))
STORED = '[0,"a",null,"right",[["a",{"n":1,"t":["é"]}],["b",{}]]]'


def test_a_node_as_stored() -> None:
    assert encoded(NODE).decode() == STORED
    assert decoded(STORED.encode()) == NODE


def test_a_roots_id_follows_from_the_trees_name() -> None:
    assert root_id("names/acc_1") == "root-0e141e27d80346e907fa8382"


@pytest.mark.parametrize("damaged", ["", "{", "[]", "null", json.dumps([0, "a", None, None]), '[0,"a",null,null,[1]]'])
def test_says_that_a_node_is_damaged(damaged: str) -> None:
    with pytest.raises(IntegrityError) as failure:
        decoded(damaged.encode())
    assert failure.value.code == "record_unreadable"
