"""Pages of the list of keys in a small and in a large account.

The keys are written by the product's own `KeyRecords` into the stack's storage, which makes the same rows and the same
trees as a sync does: to sync as many through the transaction limit of a vault takes a quarter of an hour.
"""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from bench.api import Json
from bench.figures import Bound, Figure
from bench.stage import Stage, direct_session
from bench.timing import Call, medians, milliseconds
from core.adapters.clock import SystemClock
from core.adapters.storage import Storage
from core.adapters.tables import TableCollection
from core.adapters.tree_nodes import TableNodeStore
from core.adapters.trees import TreeIndex
from core.domain.identifiers import IdKind, new_id
from core.domain.keys import KeyVersion, PublicKey, Validity, VirtualKey
from core.domain.observed import ListedKey, ObservedKey
from core.domain.sync import SyncContext, discovered
from core.services.findings import Findings
from core.services.key_records import KeyChange, KeyRecords
from core.settings import Settings
from local.stack import IdentityCredential

_WRITTEN_AT_ONCE = 10_000
_PAGES = 5
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def key_pages(stage: Stage, *, small: int = 1_000, large: int = 100_000, rounds: int = 300) -> list[Figure]:
    """Compare pages of 100 keys: the first five of each account, in turns."""
    accounts = {size: await stage.account(f"{size} keys") for size in (small, large)}
    await _fill(stage, accounts)
    calls = {str(size): await _turning_pages(stage, account) for size, account in accounts.items()}
    found = await medians(calls, rounds)
    at_small, at_large = found[str(small)], found[str(large)]
    note = (
        f"p50 {milliseconds(at_large)} and {milliseconds(at_small)}, "
        f"over the first {_PAGES} pages of each account, in turns"
    )
    what = f"Page of 100 keys, at {large:,} keys to at {small:,}"
    return [Figure(what, Bound.AT_MOST, 1.2, at_large / at_small, "x", note)]


async def _turning_pages(stage: Stage, account: str) -> Call:
    """Return a call that reads the first pages of an account's keys, one after the other, again and again."""
    paths = [f"accounts/{account}/keys?limit=100"]
    while len(paths) < _PAGES:
        page = await stage.api.get(paths[-1])
        paths.append(f"{paths[0]}&next={page['next']}")
    turning = itertools.cycle(paths)

    async def read() -> Json:
        page = await stage.api.get(next(turning))
        if len(page["items"]) != 100:
            raise RuntimeError(f"a page has {len(page['items'])} keys")
        return page

    return read


async def _fill(stage: Stage, accounts: dict[int, str]) -> None:
    settings = Settings.read(stage.stack.app_settings)
    async with direct_session(stage.stack) as session:
        storage = Storage(settings, IdentityCredential(stage.stack.endpoints), session)
        index = TreeIndex(TableNodeStore(storage.table("trees")))
        findings = Findings(index, SystemClock())
        records = KeyRecords(TableCollection(storage.table("keys"), VirtualKey), index, findings)
        for size, account in accounts.items():
            context = SyncContext(account, new_id(IdKind.GROUP), "payments", "bench", _NOW)
            for keys in itertools.batched(_keys(context, size), _WRITTEN_AT_ONCE, strict=False):
                await records.write(account, context.group, (KeyChange(key) for key in keys))


def _keys(context: SyncContext, count: int) -> Iterator[VirtualKey]:
    for number in range(count):
        made_on = _NOW - timedelta(seconds=number * 7_919 % 63_000_000)
        validity = Validity(expires_on=_NOW + timedelta(days=number % 700) if number % 2 else None)
        tags = (("team", f"team-{number % 12}"),)
        public_key = PublicKey(curve="P-256", x="A" * 43, y="B" * 43, thumbprint=f"{number:043}")
        version = KeyVersion(
            f"{number:032x}", made_on, made_on, "EC", 256, ("sign", "verify"), validity, public_key, tags
        )
        listed = ListedKey(f"key-{number:06}", made_on, made_on, validity, tags)
        yield discovered(context, ObservedKey(listed, (version,)))
