"""Pages of keys, versions and deleted keys.

A vault lists names and version ids in ascending order; a Managed HSM lists versions in the order of creation.
A page may be shorter than asked for, even empty, and still have a next one: whatever is in the middle of a
deletion or recovery is left out.
"""

import base64
import json

from local.emulator.keyvault import bundles
from local.emulator.keyvault.calls import Call
from local.emulator.keyvault.encoding import from_base64url, to_base64url
from local.emulator.keyvault.errors import bad_parameter, key_not_found
from local.emulator.keyvault.kinds import is_hsm
from local.emulator.keyvault.names import SortedNames, fold

MAX_RESULTS = 25
_DEFAULT_PORT = ":443"


async def list_keys(call: Call) -> bytes:
    """Return a page of the live keys."""
    size, start = _page_request(call)
    names, following = _names_page(call, call.store.key_names, size, start)
    keys = call.store.keys
    visible = [key for name in names if (key := keys[name]).visible_at <= call.now]
    items = [bundles.key_item(call.vault, key.name, key.newest, with_version=False) for key in visible]
    return _page(call, items, "/keys", size, following)


async def list_deleted_keys(call: Call) -> bytes:
    """Return a page of the soft-deleted keys."""
    size, start = _page_request(call)
    names, following = _names_page(call, call.store.deleted_names, size, start)
    deleted = call.store.deleted
    visible = [record for name in names if (record := deleted[name]).visible_at <= call.now]
    items = [bundles.deleted_key_item(call.vault, record) for record in visible]
    return _page(call, items, "/deletedkeys", size, following)


async def list_key_versions(call: Call) -> bytes:
    """Return a page of the versions of a key."""
    size, start = _page_request(call)
    key = call.store.keys.get(fold(call.name))
    if key is None or key.visible_at > call.now:
        if is_hsm(call.vault):
            raise key_not_found(call.vault, call.name)
        # A vault answers an empty page for a name that it does not know.
        return _page(call, [], f"/keys/{call.name}/versions", size, None)
    ids = list(key.versions) if is_hsm(call.vault) else sorted(key.versions)
    index = ids.index(start) if start in key.versions else 0
    count = 0 if call.empty_page else size
    chosen, following = ids[index : index + count], ids[index + count : index + count + 1]
    items = [bundles.key_item(call.vault, key.name, key.versions[id_], with_version=True) for id_ in chosen]
    return _page(call, items, f"/keys/{key.name}/versions", size, following[0] if following else None)


def _names_page(call: Call, names: SortedNames, size: int, start: str) -> tuple[list[str], str | None]:
    if call.empty_page:
        # An injected empty page leads to the page that was asked for.
        return [], start
    return names.page(start, size)


def _page_request(call: Call) -> tuple[int, str]:
    text = call.query.get("maxresults", str(MAX_RESULTS))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:4]) <= MAX_RESULTS:
        raise bad_parameter(f"The value of maxresults must be between 1 and {MAX_RESULTS}.")
    token = call.query.get("$skiptoken")
    return int(text), _marker_of(token, hsm=is_hsm(call.vault)) if token else ""


def _page(call: Call, items: list[str], path: str, size: int, following: str | None) -> bytes:
    value = ",".join(items)
    if following is None:
        tail = "" if is_hsm(call.vault) else ',"nextLink":null'
        return f'{{"value":[{value}]{tail}}}'.encode()
    link = json.dumps(_next_link(call, path, size, following))
    if is_hsm(call.vault):
        return f'{{"nextLink":{link},"value":[{value}]}}'.encode()
    return f'{{"value":[{value}],"nextLink":{link}}}'.encode()


def _next_link(call: Call, path: str, size: int, following: str) -> str:
    token = _skip_token(following, hsm=is_hsm(call.vault))
    if is_hsm(call.vault):
        return f"https://{call.host}{path}?maxresults={size}&$skiptoken={token}"
    # Vaults write the port out even when it is the scheme's own.
    host = call.host if ":" in call.host else call.host + _DEFAULT_PORT
    version = call.query.get("api-version", "")
    maximum = f"&maxresults={size}" if "maxresults" in call.query else ""
    return f"https://{host}{path}?api-version={version}&$skiptoken={token}{maximum}"


def _skip_token(marker: str, *, hsm: bool) -> str:
    if hsm:
        return to_base64url(f"RID:{marker}".encode())
    inner = base64.b64encode(f"{len(marker):06}!{marker}!".encode()).decode()
    return to_base64url(f'{{"NextMarker":"2!{len(inner)}!{inner}","TargetLocation":0}}'.encode())


def _marker_of(token: str, *, hsm: bool) -> str:
    try:
        text = from_base64url(token).decode()
        if hsm:
            return text.removeprefix("RID:")
        inner = json.loads(text)["NextMarker"].split("!", 2)[2]
        return base64.b64decode(inner, validate=True).decode().split("!")[1]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise bad_parameter("The skip token is not valid.") from error
