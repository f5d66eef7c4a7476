"""Pages of the list of keys in a small and in a large account.

The keys are written by the product's own `KeyRecords` into the stack's storage, which makes the same rows and the same
trees as a sync does: syncing as many through a vault's transaction limit would take a quarter of an hour.
"""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from bench.api import Json
from bench.figures import Bound, Figure
from bench.stage import Stage, direct_session
from bench.timing import medians, milliseconds
from core.adapters.storage import Storage
from core.adapters.tables import TableCollection
from core.adapters.tree_nodes import TableNodeStore
from core.adapters.trees import TreeIndex
from core.domain.keys import KeyVersion, PublicKey, Validity, VirtualKey
from core.domain.observed import ListedKey, ObservedKey
from core.domain.sync import SyncContext, discovered
from core.services.key_records import KeyChange, KeyRecords
from core.settings import Settings
from local.stack import IdentityCredential

_SMALL, _LARGE = 1_000, 100_000
_WRITTEN_AT_ONCE = 2_000
_PAGES = 5
_ROUNDS = 20
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def key_pages(stage: Stage) -> list[Figure]:
    """Compare pages of 100 keys: the first five of each account, in turns."""
    accounts = {size: await stage.account(f"{size} keys") for size in (_SMALL, _LARGE)}
    await _fill(stage, accounts)
    pages = {size: await _pages(stage, account) for size, account in accounts.items()}
    calls: dict[str, Callable[[], object]] = {}
    found = await medians(
        {str(size): _turning(stage, paths) for size, paths in pages.items()}, rounds=_ROUNDS, a_round=2 * _PAGES
    )
    del calls
    small, large = found[str(_SMALL)], found[str(_LARGE)]
    note = f"p50 {milliseconds(large)} and {milliseconds(small)}, over the first {_PAGES} pages of each, in turns"
    what = f"Page of 100 keys, at {_LARGE:,} keys to at {_SMALL:,}"
    return [Figure(what, Bound.AT_MOST, 1.2, large / small, "×", note)]
