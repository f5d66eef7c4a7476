"""Where the nodes of trees are kept: the port of the tree code, and its table.

Invariants: a root has the id that follows from its tree's name, every other node a random one that is never used
again; both are selective within the whole table, because the local storage emulator indexes row keys only.
"""

import hashlib
import secrets
from typing import Any, Protocol

from azure.data.tables.aio import TableClient
from pydantic_core import from_json, to_json

from core.adapters.rows import row_keys, unreadable
from core.adapters.storage_errors import storage_errors
from core.adapters.table_rows import WHAT, RowWrite, TableRows
from core.adapters.table_transactions import if_unchanged, replacing
from core.domain.trees import Node
from core.errors import NotFoundError, StaleWriteError
from core.ports import Stored


class NodeStore(Protocol):
    """Nodes by tree and id."""

    async def read(self, tree: str, id_: str) -> Stored[Node[Any]] | None:
        """Return a node, or None."""

    async def insert(self, tree: str, id_: str, node: Node[Any]) -> str:
        """Store a new node and return its ETag; AlreadyExistsError."""

    async def replace(self, tree: str, id_: str, node: Node[Any], etag: str) -> str:
        """Store over the node read with `etag` and return the new ETag; StaleWriteError."""

    async def absorb(self, tree: str, left: tuple[str, str], node: Node[Any], right: tuple[str, str]) -> None:
        """Store `node` over the left one and delete the right one, both or neither; StaleWriteError.

        `left` and `right` are each the id and the ETag with which the node was read.
        """


def root_id(tree: str) -> str:
    """Return the id of a tree's root."""
    return f"root-{hashlib.sha256(tree.encode()).hexdigest()[:24]}"


def new_node_id() -> str:
    """Make the id of any other node (96 random bits)."""
    return secrets.token_hex(12)


class TableNodeStore:
    """Nodes as rows of one table, a partition for each tree."""

    def __init__(self, table: TableClient) -> None:
        self._rows = TableRows(table)

    async def read(self, tree: str, id_: str) -> Stored[Node[Any]] | None:
        """Return a node, or None."""
        stored = await self._rows.read(tree, id_)
        return None if stored is None else Stored(decoded(stored.value), stored.etag)

    async def insert(self, tree: str, id_: str, node: Node[Any]) -> str:
        """Store a new node."""
        return await self._rows.write(RowWrite.of(tree, id_, encoded(node)))

    async def replace(self, tree: str, id_: str, node: Node[Any], etag: str) -> str:
        """Store over the node read with `etag`."""
        return await self._rows.write(RowWrite.of(tree, id_, encoded(node), etag))

    async def absorb(self, tree: str, left: tuple[str, str], node: Node[Any], right: tuple[str, str]) -> None:
        """Store `node` over the left one and delete the right one in one transaction."""
        operations = [
            replacing(RowWrite.of(tree, left[0], encoded(node), left[1])),
            ("delete", row_keys(tree, right[0]), if_unchanged(right[1])),
        ]
        try:
            with storage_errors(WHAT):
                await self._rows.table.submit_transaction(operations)
        except NotFoundError:
            raise StaleWriteError(WHAT) from None


def encoded(node: Node[Any]) -> bytes:
    """Return a node as stored; the order of the members is on disk for ever."""
    return to_json([node.level, node.low, node.high, node.next, node.entries])


def decoded(content: bytes) -> Node[Any]:
    """Return the node that `encoded` wrote, or IntegrityError `record_unreadable`."""
    try:
        level, low, high, next_, entries = from_json(content)
        return Node(level, low, high, next_, tuple((key, value) for key, value in entries))
    except (ValueError, TypeError):
        raise unreadable() from None
