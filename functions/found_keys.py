"""A key that a route names, of whichever kind its group is."""

from dataclasses import dataclass
from datetime import datetime

from core.domain.groups import Group, GroupKind
from core.domain.keys import VirtualKey
from core.domain.source_keys import SourceKey
from core.errors import ConflictError
from core.wiring import App
from functions.models.key_detail import KeyAnswer
from functions.operations import Call


@dataclass(frozen=True, slots=True)
class Found:
    """A key, its group as shown beside it, and the ETag of its row."""

    key: VirtualKey | SourceKey
    group: Group
    etag: str


async def found_key[Body, Query](app: App, call: Call[Body, Query]) -> Found:
    """Return the route's key; NotFoundError `key_not_found`."""
    return await read_key(app, call.account, call.group, call.path["key"])


async def read_key(app: App, account: str, group: str, key: str) -> Found:
    """Return a key; NotFoundError `group_not_found`, `key_not_found`."""
    its_group = await app.groups.glimpse(account, group)
    if its_group.kind is GroupKind.SOURCE:
        source = await app.source_keys.get(account, group, key)
        return Found(source.value, its_group, source.etag)
    virtual = await app.keys.get(account, group, key)
    return Found(virtual.value, its_group, virtual.etag)


def source_key(found: Found) -> SourceKey:
    """Return the key if it is a source key; ConflictError `virtual_key`: its material is in a vault, not here."""
    if isinstance(found.key, SourceKey):
        return found.key
    raise ConflictError("The key's material is in its vault, and does not leave it.", code="virtual_key")


def shown(found: Found, now: datetime) -> KeyAnswer:
    """Show a key as of `now`."""
    if isinstance(found.key, SourceKey):
        return KeyAnswer.of_source(found.key, found.group, now)
    return KeyAnswer.shown(found.key, found.group, now)
