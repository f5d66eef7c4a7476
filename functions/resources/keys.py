"""Keys, reading: the list over all groups, and one key with its parts."""

import re
from collections.abc import Callable, Sequence

from core.domain.keys import KeyVersion, VirtualKey
from core.domain.permissions import Permission
from core.services.keys import KeyFilter, KeySort, Order
from core.wiring import App
from functions.models.base import AnswerModel, NoQuery, Page
from functions.models.key_detail import (
    DriftAnswer,
    DriftPage,
    GenerationAnswer,
    GenerationPage,
    HistoryAnswer,
    HistoryPage,
    KeyAnswer,
    VersionAnswer,
    VersionPage,
)
from functions.models.keys import KeyItem, KeyPage, KeysQuery
from functions.operations import Answer, Call, Operation
from functions.paging import PageQuery, encoded, invalid_cursor, opened, sealed
from functions.visibility import visible_groups

_TAG = "Keys"
_ONE = "v1/accounts/{account}/groups/{group}/keys/{key}"


async def list_keys(app: App, call: Call[None, KeysQuery]) -> Answer:
    """Answer a page of the keys that the caller sees."""
    query = call.query
    if query.group is not None:
        await app.access.require(call.caller, call.account, Permission.KEY_READ, query.group)
    if query.kind == "source":
        return Answer(KeyPage(items=(), next=None))
    # A cursor is a key's position, and that key may be one of a group that the caller does not see.
    list_ = f"keys/{query.sort}/{query.group or ''}"
    order = Order(
        sort=KeySort(query.sort.removeprefix("-")),
        descending=query.sort.startswith("-"),
        after=await opened(app.sealer, call.account, list_, query.next),
        limit=query.limit,
    )
    visible = visible_groups(call.membership, Permission.KEY_READ)
    page = await app.keys.page(call.account, _wanted(query), order, visible_groups=visible)
    now = app.clock.now()
    items = tuple(KeyItem.shown(key, now) for key in page.keys)
    return Answer(KeyPage(items=items, next=await sealed(app.sealer, call.account, list_, page.next)))


async def get_key(app: App, call: Call[None, NoQuery]) -> Answer:
    """Answer one key."""
    group = await app.groups.glimpse(call.account, call.group)
    stored = await app.keys.get(call.account, call.group, call.path["key"])
    return Answer(KeyAnswer.shown(stored.value, group, app.clock.now()), etag=stored.etag)


async def list_key_versions(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of a key's versions."""
    key = await _key(app, call)
    group = await app.groups.glimpse(call.account, call.group)
    now = app.clock.now()

    def show(numbered: tuple[int, KeyVersion]) -> VersionAnswer:
        return VersionAnswer.shown(key, numbered[1], numbered[0], group, now)

    return _page(call.query, tuple(enumerate(key.versions, 1)), show, VersionPage)


async def list_key_escrow(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of a key's escrow generations."""
    return _page(call.query, (await _key(app, call)).escrow, GenerationAnswer.of, GenerationPage)


async def list_key_drift(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of what changed outside Keysteward."""
    return _page(call.query, (await _key(app, call)).drift, DriftAnswer.of, DriftPage)


async def list_key_history(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of a key's history."""
    return _page(call.query, (await _key(app, call)).history, HistoryAnswer.of, HistoryPage)


async def _key(app: App, call: Call[None, PageQuery]) -> VirtualKey:
    return (await app.keys.get(call.account, call.group, call.path["key"])).value


def _wanted(query: KeysQuery) -> KeyFilter:
    name, _, value = (query.tag or "").partition("=")
    return KeyFilter(
        group=query.group,
        states=frozenset({query.state} if query.state else ()),
        origins=frozenset({query.origin} if query.origin else ()),
        types=frozenset({query.type} if query.type else ()),
        tag=(name, value if "=" in query.tag else None) if query.tag else None,
        expires_before=query.expires_before,
        expires_after=query.expires_after,
        text=query.text,
        drifted=query.drifted,
    )


def _page[Part, Item: AnswerModel](
    query: PageQuery, oldest_first: Sequence[Part], show: Callable[[Part], Item], page: type[Page[Item]]
) -> Answer:
    """Answer a page of parts, newest first. A cursor counts from the oldest, so that new parts do not shift it."""
    stop = _count(query.after, len(oldest_first))
    start = max(0, stop - query.limit)
    items = tuple(show(part) for part in reversed(oldest_first[start:stop]))
    return Answer(page(items=items, next=encoded(str(start)) if start else None))


def _count(position: str | None, total: int) -> int:
    if position is None:
        return total
    if not re.fullmatch(r"[0-9]{1,6}", position, re.ASCII):
        raise invalid_cursor()
    return min(int(position), total)


OPERATIONS = (
    Operation(
        name="list_keys",
        method="GET",
        route="v1/accounts/{account}/keys",
        summary="List keys over all groups that I see",
        needs=Permission.KEY_READ,
        handler=list_keys,
        tag=_TAG,
        query=KeysQuery,
        answer=KeyPage,
        errors=("group_not_found", "not_permitted"),
    ),
    Operation(
        name="get_key",
        method="GET",
        route=_ONE,
        summary="Read a key: state, versions, escrow, drift, history",
        needs=Permission.KEY_READ,
        handler=get_key,
        tag=_TAG,
        answer=KeyAnswer,
        etagged=True,
    ),
    Operation(
        name="list_key_versions",
        method="GET",
        route=f"{_ONE}/versions",
        summary="List a key's versions, newest first",
        needs=Permission.KEY_READ,
        handler=list_key_versions,
        tag=_TAG,
        query=PageQuery,
        answer=VersionPage,
    ),
    Operation(
        name="list_key_escrow",
        method="GET",
        route=f"{_ONE}/escrow",
        summary="List a key's escrow generations, newest first",
        needs=Permission.ESCROW_READ,
        handler=list_key_escrow,
        tag=_TAG,
        query=PageQuery,
        answer=GenerationPage,
    ),
    Operation(
        name="list_key_drift",
        method="GET",
        route=f"{_ONE}/drift",
        summary="List what changed outside Keysteward, newest first",
        needs=Permission.KEY_READ,
        handler=list_key_drift,
        tag=_TAG,
        query=PageQuery,
        answer=DriftPage,
    ),
    Operation(
        name="list_key_history",
        method="GET",
        route=f"{_ONE}/history",
        summary="List what happened to a key, newest first",
        needs=Permission.KEY_READ,
        handler=list_key_history,
        tag=_TAG,
        query=PageQuery,
        answer=HistoryPage,
    ),
)
