"""The control API's application: the world as a whole, and the routes of its parts."""

from typing import Any

from aiohttp import web

from local.emulator import persistence
from local.emulator.control import conditions, directory, listeners, vaults, wire
from local.emulator.server import Emulator
from local.emulator.world import Principal, Subscription, World

_BODY_LIMIT = 64 * 1024 * 1024


def control_app(emulator: Emulator) -> web.Application:
    """Return the control API of one emulator."""
    world = emulator.world
    extra = listeners.ExtraListeners(emulator)

    async def show_world(_request: web.Request) -> web.Response:
        return web.json_response(_summary(world))

    async def save(_request: web.Request) -> web.Response:
        persistence.save(world, emulator.folder)
        return wire.done()

    async def reset(_request: web.Request) -> web.Response:
        await extra.stop()
        await emulator.reset()
        return wire.done()

    app = web.Application(middlewares=[wire.render_errors], client_max_size=_BODY_LIMIT)
    app.add_routes(
        [
            web.get("/control/world", show_world),
            web.post("/control/save", save),
            web.post("/control/reset", reset),
            *directory.routes(world),
            *vaults.routes(emulator),
            *conditions.routes(world),
            *extra.routes(),
        ]
    )
    app.on_shutdown.append(lambda _app: extra.stop())
    return app


def _summary(world: World) -> dict[str, Any]:
    return {
        "entra_url": world.entra_url,
        "arm_url": world.arm_url,
        "tenants": [
            {"id": t.id, "display_name": t.display_name, "domain": t.domain, "api_audiences": t.api_audiences}
            for t in world.tenants.values()
        ],
        "subscriptions": [_subscription(known) for known in world.subscriptions.values()],
        "principals": [_principal(known) for known in world.principals.values()],
        "vaults": [vaults.vault_summary(vault) for vault in world.vaults.values()],
    }


def _subscription(subscription: Subscription) -> dict[str, Any]:
    return {
        "id": subscription.id,
        "tenant_id": subscription.tenant_id,
        "display_name": subscription.display_name,
        "readers": sorted(subscription.readers),
    }


def _principal(principal: Principal) -> dict[str, Any]:
    return {
        "tenant_id": principal.tenant_id,
        "object_id": principal.object_id,
        "client_id": principal.client_id,
        "display_name": principal.display_name,
        "kind": principal.kind,
        "username": principal.username,
    }
