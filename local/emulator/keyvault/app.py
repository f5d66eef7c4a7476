"""The data plane of one vault or Managed HSM as a web application.

One handler serves every path: it names the operation, authenticates, authorises, throttles, runs it and
serialises the answer, in that order. Nothing else turns errors into responses.
"""

import json
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from local.emulator.faults import EMPTY_PAGE, OPERATION
from local.emulator.keyvault import backup, crypto, lifecycle, lists, release, rotation
from local.emulator.keyvault import operations as ops
from local.emulator.keyvault.attestation import get_key_attestation
from local.emulator.keyvault.auth import NotAuthenticatedError, authenticate, authorize
from local.emulator.keyvault.bundles import to_json
from local.emulator.keyvault.calls import Call
from local.emulator.keyvault.errors import KeyVaultError, MalformedUriError, bad_parameter
from local.emulator.keyvault.kinds import is_hsm
from local.emulator.keyvault.names import check_name, check_version
from local.emulator.keyvault.operations import Operation, Route, route_of
from local.emulator.keyvault.randomness import get_random_bytes
from local.emulator.keyvault.store import store_of
from local.emulator.keyvault.throttling import Throttle
from local.emulator.world import Vault, World

type Run = Callable[[Call], Awaitable[dict[str, Any] | bytes | None]]

_ROUTE = web.RequestKey("route", Route)
_UNKNOWN = "unknown"
# The backup of a key with 500 RSA-4096 versions fits.
_MAX_BODY_BYTES = 16 * 1024 * 1024
_HTML = (
    "<!DOCTYPE html>\r\n<html><head><title>Runtime Error</title></head>"
    "<body><h1>Server Error in '/' Application.</h1></body></html>"
)

_RUNS: Mapping[str, Run] = {
    ops.CREATE_KEY.name: lifecycle.create_key,
    ops.IMPORT_KEY.name: lifecycle.import_key,
    ops.GET_KEY.name: lifecycle.get_key,
    ops.UPDATE_KEY.name: lifecycle.update_key,
    ops.LIST_KEYS.name: lists.list_keys,
    ops.LIST_KEY_VERSIONS.name: lists.list_key_versions,
    ops.DELETE_KEY.name: lifecycle.delete_key,
    ops.LIST_DELETED_KEYS.name: lists.list_deleted_keys,
    ops.GET_DELETED_KEY.name: lifecycle.get_deleted_key,
    ops.RECOVER_DELETED_KEY.name: lifecycle.recover_deleted_key,
    ops.PURGE_DELETED_KEY.name: lifecycle.purge_deleted_key,
    ops.BACKUP_KEY.name: backup.backup_key,
    ops.RESTORE_KEY.name: backup.restore_key,
    ops.ROTATE_KEY.name: rotation.rotate_key,
    ops.GET_ROTATION_POLICY.name: rotation.get_rotation_policy,
    ops.UPDATE_ROTATION_POLICY.name: rotation.update_rotation_policy,
    ops.GET_KEY_ATTESTATION.name: get_key_attestation,
    ops.RELEASE_KEY.name: release.release_key,
    ops.ENCRYPT.name: crypto.encrypt,
    ops.DECRYPT.name: crypto.decrypt,
    ops.SIGN.name: crypto.sign,
    ops.VERIFY.name: crypto.verify,
    ops.WRAP_KEY.name: crypto.wrap_key,
    ops.UNWRAP_KEY.name: crypto.unwrap_key,
    ops.GET_RANDOM_BYTES.name: get_random_bytes,
}


def keyvault_app(world: World, vault: Vault) -> web.Application:
    """Return the full data plane of `vault`, for a listener at its port."""
    middlewares = [_name_operation, world.faults.middleware("keyvault", vault.name.lower())]
    app = web.Application(middlewares=middlewares, client_max_size=_MAX_BODY_BYTES)
    app.router.add_route("*", "/{path:.*}", DataPlane(world, vault).handle)
    return app


@web.middleware
async def _name_operation(request: web.Request, handler: Handler) -> web.StreamResponse:
    # Outside the faults: their rules and the counters go by operation.
    route = route_of(request.method, request.rel_url.raw_path)
    if route is not None:
        request[_ROUTE] = route
    request[OPERATION] = route.operation.name if route is not None else _UNKNOWN
    # A service has received what it works on, however long it takes and whether or not the client still waits.
    if 0 < (request.content_length or 0) <= _MAX_BODY_BYTES:
        await request.read()
    return await handler(request)


class DataPlane:
    """Serves the requests to one vault."""

    def __init__(self, world: World, vault: Vault) -> None:
        self._world = world
        self._vault = vault
        self._throttle = Throttle(time.monotonic)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        hsm = is_hsm(self._vault)
        try:
            answer = await self._answer(request)
        except NotAuthenticatedError as error:
            headers = self._headers() | {"WWW-Authenticate": error.challenge}
            return web.Response(status=HTTPStatus.UNAUTHORIZED, body=error.body, headers=headers)
        except KeyVaultError as error:
            return self._refuse(error)
        except MalformedUriError:
            return web.Response(status=HTTPStatus.BAD_REQUEST, text=_HTML, content_type="text/html")
        if answer is None:
            headers = self._headers()
            del headers["Content-Type"]
            return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)
        body = answer if isinstance(answer, bytes) else to_json(self._vault, answer)
        headers = self._headers()
        if hsm:
            headers["x-ms-server-latency"] = "1"
        return web.Response(body=body, headers=headers)

    async def _answer(self, request: web.Request) -> dict[str, Any] | bytes | None:
        caller = authenticate(self._world, self._vault, request)
        route = self._route(request)
        authorize(self._vault, caller, route)
        call = Call(
            world=self._world,
            vault=self._vault,
            store=store_of(self._vault),
            now=self._world.clock.now(),
            name=route.name,
            version=route.version,
            host=request.host,
            query=request.query,
            empty_page=request.get(EMPTY_PAGE, False),
            body=await _body(request) if request.body_exists else {},
        )
        self._throttle.admit(call, route.operation)
        call.store.purge_expired(call.now)
        await rotation.rotate_due_keys(call)
        return await _RUNS[route.operation.name](call)

    def _route(self, request: web.Request) -> Route:
        route: Route | None = request.get(_ROUTE)
        if route is None:
            raise bad_parameter(f"Method {request.method} does not allow operation '{request.path}'")
        if not is_hsm(self._vault):
            _check_for_vault(request, route.operation)
        if route.name or route.operation not in _WITHOUT_NAME:
            check_name(self._vault, route.name)
            check_version(self._vault, route.version)
        return route

    def _refuse(self, error: KeyVaultError) -> web.Response:
        headers = self._headers()
        retry_after = self._world.throttling.retry_after
        if error.status == HTTPStatus.TOO_MANY_REQUESTS and retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        return web.Response(status=error.status, body=error.body(managed_hsm=is_hsm(self._vault)), headers=headers)

    def _headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Cache-Control": "no-cache",
            "Strict-Transport-Security": "max-age=31536000;includeSubDomains",
            "X-Content-Type-Options": "nosniff",
            "x-ms-keyvault-region": self._vault.location,
            "x-ms-request-id": str(uuid.uuid4()),
        }
        if is_hsm(self._vault):
            headers["Content-Security-Policy"] = "default-src 'self'"
            headers["X-Frame-Options"] = "SAMEORIGIN"
        return headers


_WITHOUT_NAME = frozenset({ops.LIST_KEYS, ops.LIST_DELETED_KEYS, ops.RESTORE_KEY, ops.GET_RANDOM_BYTES})
_HSM_ONLY = frozenset({ops.GET_RANDOM_BYTES, ops.GET_KEY_ATTESTATION})


def _check_for_vault(request: web.Request, operation: Operation) -> None:
    if "api-version" not in request.query:
        raise bad_parameter("api-version must be specified")
    if operation in _HSM_ONLY:
        raise bad_parameter(f"Method {request.method} does not allow operation '{operation.name}'")


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        octets = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise KeyVaultError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestTooLarge", "The body is too large.") from error
    if not octets:
        return {}
    try:
        body = json.loads(octets)
    except (ValueError, RecursionError) as error:
        raise bad_parameter("The body is not valid JSON.") from error
    if not isinstance(body, dict):
        raise bad_parameter("The body is not a JSON object.")
    return body
