"""The managed identity endpoint of App Service, over plain HTTP as on the platform.

The header's secret is compared in constant time; a request without it learns nothing.
"""

import hmac

from aiohttp import web

from local.emulator.access_tokens import access_token, is_known_resource
from local.emulator.seeds import IDENTITY_OBJECT_ID
from local.emulator.tokens import LIFETIME_SECONDS
from local.emulator.world import Principal, World

_API_VERSION = "2019-08-01"


def identity_app(world: World) -> web.Application:
    """Return the endpoint's application."""

    async def managed_identity_token(request: web.Request) -> web.Response:
        """Answer a token of the asked identity; without `client_id` that of the seeded one."""
        presented = request.headers.get("X-IDENTITY-HEADER", "")
        if not hmac.compare_digest(presented.encode(), world.identity_header.encode()):
            return _refusal(401, "Unauthorized", "The X-IDENTITY-HEADER is missing or wrong.")
        if request.query.get("api-version") != _API_VERSION:
            return _refusal(400, "UnsupportedApiVersion", "The api-version is not supported.")
        identity = _identity(world, request)
        if identity is None:
            message = "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId."
            return _refusal(400, "Bad Request", message)
        resource = request.query.get("resource", "").removesuffix("/.default").rstrip("/")
        if not is_known_resource(world.tenants[identity.tenant_id], resource):
            return _refusal(400, "Bad Request", "The resource is unknown.")
        return web.json_response(
            {
                "access_token": access_token(world, identity, resource),
                "expires_on": str(int(world.clock.token_now()) + LIFETIME_SECONDS),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": identity.client_id,
            }
        )

    app = web.Application(middlewares=[world.faults.middleware("identity")])
    app.add_routes([web.get("/msi/token", managed_identity_token)])
    return app


def _identity(world: World, request: web.Request) -> Principal | None:
    client_id, object_id = request.query.get("client_id"), request.query.get("principal_id")
    if client_id is None and object_id is None:
        return world.principals.get(IDENTITY_OBJECT_ID)
    found = world.find_principal(client_id=client_id, object_id=object_id)
    return found if found is not None and found.kind == "managed_identity" else None


def _refusal(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"statusCode": status, "error": code, "message": message}, status=status)
