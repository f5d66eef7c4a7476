"""Which key permissions an identity holds on a vault, found out without changing anything.

Each probe asks for something that cannot succeed: a key whose name is random and therefore absent, or a body that no
vault accepts. A vault decides on access before it looks for the key or into the body (it challenges a request without a
body for its token, so it does not read bodies first): 403 means that the permission is missing, 404 or 400 that it is
held. Anything else leaves it unknown.
"""

import asyncio
import secrets
from collections.abc import Mapping
from types import MappingProxyType

from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.keyvault.keys.aio import KeyClient

from core.adapters.azure.failures import CALL_ERRORS, Failure, failure_of, refusal_of
from core.adapters.azure.rate_limit import Turn, paced, retry_after
from core.adapters.azure.refusals import ACCESS_CODES, inner_code
from core.adapters.azure.retries import REPEATABLE
from core.adapters.azure.spans import vault_call
from core.domain.connections import KEY_PERMISSIONS, ConnectionCause, PermissionState, VaultFacts
from core.domain.rate_limits import VaultOperation
from core.errors import VaultUnavailableError

_NOTHING: Mapping[str, object] = MappingProxyType({})
# (method, path, JSON body) of each probe; {} stands for a name that no key has.
_PROBES: Mapping[str, tuple[str, str, Mapping[str, object] | None]] = MappingProxyType(
    {
        "get": ("GET", "/keys/{}/", None),
        "list": ("GET", "/keys?maxresults=1", None),
        "update": ("PATCH", "/keys/{}/", _NOTHING),
        "create": ("POST", "/keys/{}/create", {"kty": "none"}),
        "import": ("PUT", "/keys/{}", {"key": {"kty": "none"}}),
        "delete": ("DELETE", "/keys/{}", None),
        "recover": ("POST", "/deletedkeys/{}/recover", None),
        "backup": ("POST", "/keys/{}/backup", None),
        "restore": ("POST", "/keys/restore", {"value": "AAAA"}),
        "purge": ("DELETE", "/deletedkeys/{}", None),
    }
)
_HELD = frozenset({200, 400, 404})
_FORBIDDEN = 403


class ProbeError(Exception):
    """The vault could not be asked at all; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.cause.value)
        self.failure = failure


async def probe(client: KeyClient, vault: VaultFacts) -> tuple[tuple[str, PermissionState], ...]:
    """Return the state of each of KEY_PERMISSIONS; ProbeError where the vault does not answer."""
    name = f"keysteward-probe-{secrets.token_hex(16)}"
    # The first one alone: it brings the token and the vault's challenge for the others, or shows why there is none.
    states = {"list": _judged(vault, "list", await _sent(client, vault, "list", name))}
    others = [permission for permission in KEY_PERMISSIONS if permission not in states]
    found = await asyncio.gather(*(_state(client, vault, permission, name) for permission in others))
    states.update(zip(others, found, strict=True))
    return tuple((permission, states[permission]) for permission in KEY_PERMISSIONS)


async def _state(client: KeyClient, vault: VaultFacts, permission: str, name: str) -> PermissionState:
    try:
        return _judged(vault, permission, await _sent(client, vault, permission, name))
    except ProbeError:
        return PermissionState.UNKNOWN


async def _sent(client: KeyClient, vault: VaultFacts, permission: str, name: str) -> AsyncHttpResponse:
    method, path, body = _PROBES[permission]
    operation = VaultOperation(permission)
    request = HttpRequest(method, path.format(name), json=None if body is None else dict(body))
    with vault_call(vault.uri, operation):
        try:
            response = await client.send_request(request, retry_total=2, **paced(Turn(operation)), **REPEATABLE)
        except CALL_ERRORS as error:
            raise ProbeError(failure_of(error)) from None
        except VaultUnavailableError as error:
            # The vault's limit is used up for longer than a request waits.
            raise ProbeError(
                Failure(ConnectionCause.THROTTLED, retry_after=error.retry_after.total_seconds())
            ) from None
    failure = refusal_of(response.status_code, inner_code(response), retry_after(response.headers))
    if failure is not None and (
        failure.cause is not ConnectionCause.ACCESS_DENIED or response.status_code != _FORBIDDEN
    ):
        raise ProbeError(failure)
    return response


def _judged(vault: VaultFacts, permission: str, response: AsyncHttpResponse) -> PermissionState:
    if response.status_code in _HELD:
        return PermissionState.HELD
    if response.status_code != _FORBIDDEN:
        return PermissionState.UNKNOWN
    # Purge protection is refused with the same status, to those who hold the permission.
    if permission == "purge" and vault.purge_protection and inner_code(response) not in ACCESS_CODES:
        return PermissionState.UNKNOWN
    return PermissionState.MISSING
