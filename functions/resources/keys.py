"""Keys, reading: the list over all groups, and one key with its parts."""

from core.domain.keys import KeyVersion
from core.domain.permissions import Permission
from core.domain.source_keys import SourceKey
from core.errors import NotFoundError
from core.services.keys import KeyFilter, KeySort, Order
from core.wiring import App
from functions.found_keys import found_key, shown, source_key
from functions.models.base import NoQuery
from functions.models.key_detail import KeyAnswer
from functions.models.key_parts import (
    CopyAnswer,
    CopyPage,
    DriftAnswer,
    DriftPage,
    GenerationAnswer,
    GenerationPage,
    HistoryAnswer,
    HistoryPage,
)
from functions.models.key_versions import PublicKeyFileAnswer, VersionAnswer, VersionPage
from functions.models.keys import KeyItem, KeyPage, KeysQuery, VersionQuery
from functions.operations import Answer, Call, Operation
from functions.paging import PageQuery, opened, sealed
from functions.parts import newest_of, page_of
from functions.visibility import visible_groups

_TAG = "Keys"
_ONE = "v1/accounts/{account}/groups/{group}/keys/{key}"


async def list_keys(app: App, call: Call[None, KeysQuery]) -> Answer:
    """Answer a page of the keys that the caller sees."""
    query = call.query
    if query.group is not None:
        await app.access.require(call.caller, call.account, Permission.KEY_READ, query.group)
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
    found = await found_key(app, call)
    return Answer(shown(found, app.clock.now()), etag=found.etag)


async def list_key_versions(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of a key's versions."""
    found, now = await found_key(app, call), app.clock.now()
    key = found.key
    if isinstance(key, SourceKey):
        return page_of(call.query, key.versions, lambda each: VersionAnswer.of_source(key, each, now), VersionPage)

    def show(numbered: tuple[int, KeyVersion]) -> VersionAnswer:
        return VersionAnswer.shown(key, numbered[1], numbered[0], found.group, now)

    return page_of(call.query, tuple(enumerate(key.versions, 1)), show, VersionPage)


async def list_key_escrow(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of a key's escrow generations."""
    key = (await found_key(app, call)).key
    generations = () if isinstance(key, SourceKey) else key.escrow
    return page_of(call.query, generations, GenerationAnswer.of, GenerationPage)


async def list_key_drift(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of what changed outside Keysteward."""
    key = (await found_key(app, call)).key
    return page_of(call.query, () if isinstance(key, SourceKey) else key.drift, DriftAnswer.of, DriftPage)


async def list_key_history(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of a key's history."""
    return page_of(call.query, (await found_key(app, call)).key.history, HistoryAnswer.of, HistoryPage)


async def list_key_copies(app: App, call: Call[None, PageQuery]) -> Answer:
    """Answer a page of a source key's copies."""
    key = source_key(await found_key(app, call))
    copies, following = newest_of(call.query, key.copies)
    suggested = await app.copies.suggested_name(call.account, key)
    return Answer(CopyPage(items=tuple(map(CopyAnswer.of, copies)), next=following, suggested_name=suggested))


async def get_public_key(app: App, call: Call[None, VersionQuery]) -> Answer:
    """Answer a version's public key."""
    key = (await found_key(app, call)).key
    number = call.query.version or len(key.versions)
    if not 1 <= number <= len(key.versions):
        raise NotFoundError("The key has no such version.", code="key_version_not_found", field="version")
    version = key.versions[number - 1]
    id_ = version.id if isinstance(version, KeyVersion) else str(version.number)
    return Answer(PublicKeyFileAnswer.shown(id_, number, version.public_key))


def _wanted(query: KeysQuery) -> KeyFilter:
    name, _, value = (query.tag or "").partition("=")
    return KeyFilter(
        group=query.group,
        key_class=query.kind,
        states=frozenset({query.state} if query.state else ()),
        origins=frozenset({query.origin} if query.origin else ()),
        types=frozenset({query.type} if query.type else ()),
        tag=(name, value if "=" in query.tag else None) if query.tag else None,
        expires_before=query.expires_before,
        expires_after=query.expires_after,
        text=query.text,
        drifted=query.drifted,
    )


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
        name="list_key_copies",
        method="GET",
        route=f"{_ONE}/copies",
        summary="List a source key's copies, newest first",
        needs=Permission.KEY_READ,
        handler=list_key_copies,
        tag=_TAG,
        query=PageQuery,
        answer=CopyPage,
        errors=("virtual_key",),
    ),
    Operation(
        name="get_public_key",
        method="GET",
        route=f"{_ONE}/public-key",
        summary="Read a version's public key, as PEM and as JSON Web Key",
        needs=Permission.KEY_READ,
        handler=get_public_key,
        tag=_TAG,
        query=VersionQuery,
        answer=PublicKeyFileAnswer,
        errors=("key_version_not_found", "public_key_not_available"),
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
