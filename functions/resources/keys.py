"""Keys, reading: the list over all groups, and one key with its parts."""

from collections.abc import Callable, Sequence

from core.domain.keys import VirtualKey
from core.domain.permissions import Permission
from core.services.keys import KeyFilter, KeySort, Order
from functions.models.base import AnswerModel, NoQuery, Page
from functions.models.key_detail import (
    DriftAnswer,
    DriftPage,
    GenerationAnswer,
    GenerationPage,
    HistoryAnswer,
    HistoryPage,
    KeyAnswer,
    VersionPage,
    newest_versions,
)
from functions.models.keys import KeyItem, KeyPage, KeysQuery
from functions.operations import Answer, Call, Operation
from functions.paging import PageQuery, encoded, opened, sealed
from functions.services import Services
from functions.visibility import visible_groups

_TAG = "Keys"
_ONE = "v1/accounts/{account}/groups/{group}/keys/{key}"


async def list_keys(services: Services, call: Call[None, KeysQuery]) -> Answer:
    """Answer a page of the keys that the caller sees."""
    query = call.query
    if query.group is not None:
        await services.access.require(call.caller, call.account, Permission.KEY_READ, query.group)
    if query.kind == "source":
        return Answer(KeyPage(items=(), next=None))
    # A cursor is a key's position, and that key may be one of a group that the caller does not see.
    list_ = f"keys/{query.sort}/{query.group or ''}"
    order = Order(
        sort=KeySort(query.sort.removeprefix("-")),
        descending=query.sort.startswith("-"),
        after=await opened(services.sealer, call.account, list_, query.next),
        limit=query.limit,
    )
    visible = visible_groups(call.membership, Permission.KEY_READ)
    page = await services.keys.page(call.account, _wanted(query), order, visible_groups=visible)
    now = services.clock.now()
    items = tuple(KeyItem.shown(key, now) for key in page.keys)
    return Answer(KeyPage(items=items, next=await sealed(services.sealer, call.account, list_, page.next)))


async def get_key(services: Services, call: Call[None, NoQuery]) -> Answer:
    """Answer one key."""
    stored = await services.keys.get(call.account, call.group, call.path["key"])
    group = await services.groups.get(call.caller, call.account, call.group)
    return Answer(KeyAnswer.shown(stored.value, group.value, services.clock.now()), etag=stored.etag)


async def list_key_versions(services: Services, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of a key's versions."""
    key = await _key(services, call)
    group = await services.groups.get(call.caller, call.account, call.group)
    start = _start(call.query)
    which = slice(start, start + call.query.limit)
    items = tuple(newest_versions(key, group.value, services.clock.now(), which))
    return Answer(VersionPage(items=items, next=_next(which.stop, len(key.versions))))


async def list_key_escrow(services: Services, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of a key's escrow generations."""
    return _page(call.query, (await _key(services, call)).escrow, GenerationAnswer.of, GenerationPage)


async def list_key_drift(services: Services, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of what changed outside Keysteward."""
    return _page(call.query, (await _key(services, call)).drift, DriftAnswer.of, DriftPage)


async def list_key_history(services: Services, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of a key's history."""
    return _page(call.query, (await _key(services, call)).history, HistoryAnswer.of, HistoryPage)


async def _key(services: Services, call: Call[None, PageQuery]) -> VirtualKey:
    return (await services.keys.get(call.account, call.group, call.path["key"])).value


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
    start = _start(query)
    parts = oldest_first[::-1][start : start + query.limit]
    items = tuple(show(part) for part in parts)
    return Answer(page(items=items, next=_next(start + query.limit, len(oldest_first))))


def _start(query: PageQuery) -> int:
    return decoded_index(query.next)


def _next(stop: int, total: int) -> str | None:
    return encoded(str(stop)) if stop < total else None
