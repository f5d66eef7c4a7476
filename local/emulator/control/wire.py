"""Bodies and errors of the control API. Unknown members of a body are refused, so that a typing error shows."""

import json
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from local.emulator.world import Principal, Subscription, Tenant, Vault, World


class Body(BaseModel):
    """The base of request bodies."""

    model_config = ConfigDict(extra="forbid")


class ControlError(Exception):
    """A request that the control API refuses."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


async def read[T](request: web.Request, shape: type[T]) -> T:
    """Return the request's JSON body as `shape`; raises `ControlError`."""
    return parse(await _json(request), shape)


def parse[T](content: object, shape: type[T]) -> T:
    """Return decoded JSON as `shape`; raises `ControlError`."""
    try:
        return TypeAdapter(shape).validate_python(content)
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise ControlError(400, "InvalidBody", where) from error


async def _json(request: web.Request) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(await request.read() or b"{}")
    except ValueError as error:
        raise ControlError(400, "InvalidBody", "The body is not JSON.") from error


@web.middleware
async def render_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn a `ControlError` into its JSON."""
    try:
        return await handler(request)
    except ControlError as error:
        body = {"error": {"code": error.code, "message": str(error)}}
        return web.json_response(body, status=error.status)


def done() -> web.Response:
    """Return the answer of a change that has nothing to tell."""
    return web.Response(status=204)


def known_tenant(world: World, tenant_id: str) -> Tenant:
    """Return a tenant; raises `ControlError`."""
    return _known(world.find_tenant(tenant_id), "tenant", tenant_id)


def known_subscription(world: World, subscription_id: str) -> Subscription:
    """Return a subscription; raises `ControlError`."""
    return _known(world.subscriptions.get(subscription_id.lower()), "subscription", subscription_id)


def known_principal(world: World, object_id: str) -> Principal:
    """Return a principal; raises `ControlError`."""
    return _known(world.principals.get(object_id.lower()), "principal", object_id)


def known_vault(world: World, name: str) -> Vault:
    """Return a vault or HSM; raises `ControlError`."""
    return _known(world.find_vault(name), "vault", name)


def _known[T](found: T | None, what: str, name: str) -> T:
    if found is None:
        raise ControlError(404, "NotFound", f"There is no {what} '{name}'.")
    return found
