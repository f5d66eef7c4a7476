"""The emulated Azure Resource Manager: what a client needs to find vaults and managed HSMs.

Paths are compared without case, as ARM does. Every request needs an `api-version` and a token for ARM of the
subscription's tenant; a page that is full carries a next link, so that a last page can be empty, as ARM's can.
"""

import base64
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Literal

from aiohttp import web
from yarl import URL

from local.emulator import arm_errors
from local.emulator.arm_resources import deleted_resource, generic_resource, subscription_resource, vault_resource
from local.emulator.tokens import TokenError, VerifiedToken
from local.emulator.world import EVERYBODY, Subscription, Vault, World

PAGE_SIZE = 25
_SUBSCRIPTION = "/{s:(?i:subscriptions)}/{subscription}"
_GROUP = _SUBSCRIPTION + "/{g:(?i:resourceGroups)}/{group}"
_PROVIDER = "/{p:(?i:providers)}/{k:(?i:Microsoft.KeyVault)}"
_TYPE = "/{type:(?i:vaults|managedHSMs)}"
_DELETED_TYPE = "/{type:(?i:deletedVaults|deletedManagedHSMs)}"


def arm_app(world: World) -> web.Application:
    """Return ARM's application; the server binds it to the management URL."""
    arm = _Arm(world)
    app = web.Application(middlewares=[world.faults.middleware("arm")])
    app.add_routes(
        [
            web.get("/{s:(?i:subscriptions)}", arm.list_subscriptions),
            web.get(_SUBSCRIPTION, arm.get_subscription),
            web.get(_SUBSCRIPTION + "/{r:(?i:resources)}", arm.list_resources),
            web.get(_SUBSCRIPTION + _PROVIDER + _TYPE, arm.list_vaults),
            web.get(_GROUP + _PROVIDER + _TYPE, arm.list_vaults),
            web.get(_GROUP + _PROVIDER + _TYPE + "/{name}", arm.get_vault),
            web.get(_SUBSCRIPTION + _PROVIDER + _DELETED_TYPE, arm.list_deleted),
            web.get(
                _SUBSCRIPTION + _PROVIDER + "/{l:(?i:locations)}/{location}" + _DELETED_TYPE + "/{name}",
                arm.get_deleted,
            ),
        ]
    )
    return app


class _Arm:
    def __init__(self, world: World) -> None:
        self._world = world

    async def list_subscriptions(self, request: web.Request) -> web.Response:
        caller = self._authenticate(request)
        readable = [
            subscription_resource(known)
            for known in self._world.subscriptions.values()
            if known.tenant_id == caller.tenant_id and _may_read(known, caller)
        ]
        return web.json_response({"value": readable, "count": {"type": "Total", "value": len(readable)}})

    async def get_subscription(self, request: web.Request) -> web.Response:
        subscription = self._authorize(request, "Microsoft.Resources/subscriptions/read")
        return web.json_response(subscription_resource(subscription))

    async def list_resources(self, request: web.Request) -> web.Response:
        subscription = self._authorize(request, "Microsoft.Resources/subscriptions/resources/read")
        wanted = request.query.get("$filter", "").lower()
        vaults = [v for v in self._vaults(subscription) if not wanted or f"'{v.resource_type.lower()}'" in wanted]
        return self._page(request, vaults, generic_resource)

    async def list_vaults(self, request: web.Request) -> web.Response:
        kind = _kind(request)
        subscription = self._authorize(request, _read_action(kind))
        group = request.match_info.get("group")
        vaults = [
            vault
            for vault in self._vaults(subscription)
            if vault.kind == kind and (group is None or vault.resource_group.lower() == group.lower())
        ]
        return self._page(request, vaults, vault_resource)

    async def get_vault(self, request: web.Request) -> web.Response:
        kind = _kind(request)
        subscription = self._authorize(request, _read_action(kind))
        name, group = request.match_info["name"], request.match_info["group"]
        for vault in self._vaults(subscription):
            here = vault.kind == kind and vault.resource_group.lower() == group.lower()
            if here and vault.name.lower() == name.lower():
                return web.json_response(vault_resource(vault))
        resource_type = "Microsoft.KeyVault/vaults" if kind == "vault" else "Microsoft.KeyVault/managedHSMs"
        raise arm_errors.unknown_resource(resource_type, name, group)

    async def list_deleted(self, request: web.Request) -> web.Response:
        kind = _kind(request)
        subscription = self._authorize(request, _read_action(kind))
        deleted = {d.vault.name: d for d in self._world.deleted_vaults.values()}
        vaults = [d.vault for d in deleted.values() if d.vault.kind == kind]
        here = [vault for vault in _sorted(vaults) if vault.subscription_id == subscription.id]
        return self._page(request, here, lambda vault: deleted_resource(deleted[vault.name]))

    async def get_deleted(self, request: web.Request) -> web.Response:
        kind = _kind(request)
        subscription = self._authorize(request, _read_action(kind))
        name = request.match_info["name"]
        found = self._world.deleted_vaults.get(name.lower())
        if found is None or found.vault.kind != kind or found.vault.subscription_id != subscription.id:
            raise arm_errors.unknown_deleted_vault(name)
        return web.json_response(deleted_resource(found))

    def _authenticate(self, request: web.Request) -> VerifiedToken:
        try:
            caller = self._world.tokens.verify(
                request.headers.get("Authorization"), audiences=arm_errors.ARM_AUDIENCES, tenant_id=None
            )
        except TokenError as error:
            raise arm_errors.unauthenticated(error, self._world.entra_url) from error
        if "api-version" not in request.query:
            raise arm_errors.missing_api_version()
        return caller

    def _authorize(self, request: web.Request, action: str) -> Subscription:
        caller = self._authenticate(request)
        subscription_id = request.match_info["subscription"]
        try:
            subscription = self._world.subscriptions.get(str(uuid.UUID(subscription_id)))
        except ValueError as error:
            raise arm_errors.malformed_subscription(subscription_id) from error
        if subscription is None:
            raise arm_errors.unknown_subscription(subscription_id)
        if caller.tenant_id != subscription.tenant_id:
            raise arm_errors.wrong_tenant(caller.tenant_id, subscription.tenant_id)
        if not _may_read(subscription, caller):
            raise arm_errors.not_authorized(caller.object_id, action, request.path)
        return subscription

    def _vaults(self, subscription: Subscription) -> list[Vault]:
        return _sorted([vault for vault in self._world.vaults.values() if vault.subscription_id == subscription.id])

    def _page(
        self, request: web.Request, vaults: Sequence[Vault], render: Callable[[Vault], dict[str, Any]]
    ) -> web.Response:
        size = _page_size(request)
        after = _read_marker(request)
        rest = [vault for vault in vaults if vault.name.lower() > after]
        page: dict[str, Any] = {"value": [render(vault) for vault in rest[:size]]}
        if len(rest) >= size:
            marker = base64.urlsafe_b64encode(rest[size - 1].name.lower().encode()).decode()
            link = URL(self._world.arm_url).join(request.rel_url).update_query({"$skiptoken": marker})
            page["nextLink"] = str(link)
        return web.json_response(page)


def _kind(request: web.Request) -> Literal["vault", "managed_hsm"]:
    return "managed_hsm" if "hsm" in request.match_info["type"].lower() else "vault"


def _read_action(kind: Literal["vault", "managed_hsm"]) -> str:
    return "Microsoft.KeyVault/vaults/read" if kind == "vault" else "Microsoft.KeyVault/managedHSMs/read"


def _may_read(subscription: Subscription, caller: VerifiedToken) -> bool:
    return EVERYBODY in subscription.readers or caller.object_id in subscription.readers


def _sorted(vaults: list[Vault]) -> list[Vault]:
    return sorted(vaults, key=lambda vault: vault.name.lower())


def _page_size(request: web.Request) -> int:
    asked = request.query.get("$top", str(PAGE_SIZE))
    if not asked.isdecimal() or int(asked) < 1:
        message = f"The value '{asked}' of the query parameter '$top' is invalid."
        raise arm_errors.arm_error(400, "InvalidQueryParameterValue", message)
    return min(int(asked), PAGE_SIZE)


def _read_marker(request: web.Request) -> str:
    try:
        return base64.urlsafe_b64decode(request.query.get("$skiptoken", "")).decode()
    except ValueError as error:
        message = "The provided skip token is invalid."
        raise arm_errors.arm_error(400, "InvalidSkipToken", message) from error
