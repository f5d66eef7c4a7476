"""The emulated Entra over HTTP: discovery, signing keys and the token endpoint, for every tenant of the world."""

from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from local.emulator import entra_errors
from local.emulator.access_tokens import access_token
from local.emulator.client_assertions import WORKLOAD_ISSUER_PATH
from local.emulator.entra_errors import EntraError
from local.emulator.entra_grants import grant
from local.emulator.tokens import LIFETIME_SECONDS
from local.emulator.world import Tenant, World


def entra_app(world: World) -> web.Application:
    """Return Entra's application; the server binds it to the authority's URL."""
    entra = _Entra(world)
    app = web.Application(middlewares=[world.faults.middleware("entra"), entra.render_errors])
    app.add_routes(
        [
            web.get("/common/discovery/instance", entra.discover_instance),
            web.get(f"{WORKLOAD_ISSUER_PATH}/.well-known/openid-configuration", entra.workload_configuration),
            web.get(f"{WORKLOAD_ISSUER_PATH}/keys", entra.workload_keys),
            web.get("/{tenant}/v2.0/.well-known/openid-configuration", entra.openid_configuration),
            web.get("/{tenant}/.well-known/openid-configuration", entra.openid_configuration),
            web.get("/{tenant}/discovery/v2.0/keys", entra.signing_keys),
            web.get("/{tenant}/discovery/keys", entra.signing_keys),
            web.post("/{tenant}/oauth2/v2.0/token", entra.token),
            web.post("/{tenant}/oauth2/token", entra.token),
        ]
    )
    return app


class _Entra:
    def __init__(self, world: World) -> None:
        self._world = world

    @web.middleware
    async def render_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except EntraError as error:
            now, correlation_id = self._world.clock.token_now(), request.headers.get("client-request-id")
            return web.json_response(error.body(now, correlation_id), status=error.status)

    async def discover_instance(self, request: web.Request) -> web.Response:
        tenant = request.query.get("authorization_endpoint", "").rstrip("/").split("/")
        tenant_id = tenant[3] if len(tenant) > 3 else "common"  # noqa: PLR2004 - https://host/tenant/...
        base = f"{self._world.entra_url}/{tenant_id}"
        return web.json_response(
            {
                "tenant_discovery_endpoint": f"{base}/v2.0/.well-known/openid-configuration",
                "api-version": "1.1",
                "metadata": [_instance(request.host)],
            }
        )

    async def openid_configuration(self, request: web.Request) -> web.Response:
        tenant = self._tenant(request, error="invalid_tenant")
        base = f"{self._world.entra_url}/{tenant.id}"
        return web.json_response(
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "response_types_supported": ["token"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
            }
        )

    async def signing_keys(self, request: web.Request) -> web.Response:
        if request.match_info["tenant"] != "common":
            self._tenant(request, error="invalid_tenant")
        return web.json_response({"keys": [self._world.tokens.entra_key.public_jwk()]})

    async def workload_configuration(self, _request: web.Request) -> web.Response:
        issuer = f"{self._world.entra_url}{WORKLOAD_ISSUER_PATH}"
        return web.json_response(
            {"issuer": issuer, "jwks_uri": f"{issuer}/keys", "id_token_signing_alg_values_supported": ["RS256"]}
        )

    async def workload_keys(self, _request: web.Request) -> web.Response:
        return web.json_response({"keys": [self._world.tokens.workload_key.public_jwk()]})

    async def token(self, request: web.Request) -> web.Response:
        tenant = self._tenant(request, error="invalid_request")
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        granted = grant(self._world, tenant, form)
        principal = granted.principal
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "expires_in": LIFETIME_SECONDS,
            "ext_expires_in": LIFETIME_SECONDS,
            "access_token": access_token(self._world, principal, granted.resource, client_id=granted.client_id),
        }
        if principal.kind == "user":
            answer["scope"] = granted.scope
        return web.json_response(answer, headers={"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"})

    def _tenant(self, request: web.Request, *, error: str) -> Tenant:
        name = request.match_info["tenant"]
        tenant = self._world.find_tenant(name)
        if tenant is None:
            raise entra_errors.unknown_tenant(name, error=error)
        return tenant


def _instance(host: str) -> dict[str, Any]:
    return {"preferred_network": host, "preferred_cache": host, "aliases": [host]}
