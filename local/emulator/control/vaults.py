"""Vaults and managed HSMs in the control API: making, changing, deleting, permissions and bulk keys."""

from typing import Any, Literal

from aiohttp import web
from pydantic import Field, with_config

from local.emulator import seeds
from local.emulator.control.wire import (
    Body,
    ControlError,
    done,
    known_principal,
    known_subscription,
    known_vault,
    read,
)
from local.emulator.faults import STRICT
from local.emulator.keyvault import KeySeed, seed_keys
from local.emulator.server import Emulator
from local.emulator.world import AccessPolicy, DeletedVault, RoleAssignment, Vault

KEY_PERMISSIONS = frozenset(
    {
        "get",
        "list",
        "update",
        "create",
        "import",
        "delete",
        "recover",
        "backup",
        "restore",
        "purge",
        "encrypt",
        "decrypt",
        "sign",
        "verify",
        "wrapkey",
        "unwrapkey",
        "rotate",
        "getrotationpolicy",
        "setrotationpolicy",
        "release",
    }
)
_ALL = "all"

# Bulk keys are read from JSON here alone, as strictly as every other body.
with_config(STRICT)(KeySeed)


class PolicyBody(Body):
    """Key permissions of one principal; `all` stands for every one."""

    object_id: str
    keys: set[str]


class RoleBody(Body):
    """A role of one principal; without `scope` on the whole vault or HSM."""

    object_id: str
    role: str
    scope: str | None = None


class VaultBody(Body):
    """A vault or HSM to make."""

    name: str = Field(pattern=r"^[0-9a-zA-Z]+(-[0-9a-zA-Z]+)*$", min_length=3, max_length=24)
    sku: Literal["standard", "premium", "managed_hsm"] = "standard"
    subscription: str = seeds.SUBSCRIPTION_ID
    resource_group: str = "keys"
    location: str = "westeurope"
    geography: str = "Europe"
    security_domain: str | None = None
    retention_days: int = Field(default=90, ge=7, le=90)
    purge_protection: bool = False
    soft_delete: bool = True
    rbac: bool = False
    access_policies: list[PolicyBody] = Field(default_factory=list)
    role_assignments: list[RoleBody] = Field(default_factory=list)
    firewall: bool = False
    tags: dict[str, str] = Field(default_factory=dict)


class VaultPatch(Body):
    """What of a vault changes; `None` leaves a member as it is."""

    purge_protection: bool | None = None
    soft_delete: bool | None = None
    rbac: bool | None = None
    firewall: bool | None = None
    tags: dict[str, str] | None = None
    access_policies: list[PolicyBody] | None = None
    role_assignments: list[RoleBody] | None = None


class PermissionsBody(Body):
    """Key permissions (access policies) or roles (RBAC, managed HSM) that one principal gains and loses."""

    object_id: str
    grant: set[str] = Field(default_factory=set)
    revoke: set[str] = Field(default_factory=set)
    scope: str | None = None


class KeysBody(Body):
    """Keys to make in bulk."""

    keys: list[KeySeed]


class _Vaults:
    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._world = emulator.world

    async def add(self, request: web.Request) -> web.Response:
        body = await read(request, VaultBody)
        if self._world.find_vault(body.name) is not None:
            raise ControlError(409, "VaultExists", f"There is a vault '{body.name}' already.")
        subscription = known_subscription(self._world, body.subscription)
        vault = _vault(body, subscription.tenant_id, self._world.clock.now())
        self._world.vaults[vault.name.lower()] = vault
        self._world.deleted_vaults.pop(vault.name.lower(), None)
        await self._emulator.open_vault(vault)
        return web.json_response(vault_summary(vault), status=201)

    async def change(self, request: web.Request) -> web.Response:
        vault = known_vault(self._world, request.match_info["name"])
        body = await read(request, VaultPatch)
        if body.access_policies is not None:
            vault.access_policies = _policies(body.access_policies, vault.tenant_id)
        if body.role_assignments is not None:
            vault.role_assignments = _roles(body.role_assignments, vault)
        for member in ("purge_protection", "soft_delete", "rbac", "firewall", "tags"):
            if (value := getattr(body, member)) is not None:
                setattr(vault, member, value)
        return web.json_response(vault_summary(vault))

    async def delete(self, request: web.Request) -> web.Response:
        vault = known_vault(self._world, request.match_info["name"])
        del self._world.vaults[vault.name.lower()]
        self._world.deleted_vaults[vault.name.lower()] = DeletedVault(vault, self._world.clock.now())
        await self._emulator.close_vault(vault)
        return done()

    async def change_permissions(self, request: web.Request) -> web.Response:
        vault = known_vault(self._world, request.match_info["name"])
        body = await read(request, PermissionsBody)
        known_principal(self._world, body.object_id)
        if vault.rbac or vault.kind == "managed_hsm":
            _change_roles(vault, body)
        else:
            _change_policy(vault, body)
        return done()

    async def add_keys(self, request: web.Request) -> web.Response:
        vault = known_vault(self._world, request.match_info["name"])
        body = await read(request, KeysBody)
        try:
            seed_keys(vault, self._world, body.keys)
        except ValueError as error:
            raise ControlError(400, "InvalidKeys", str(error)) from error
        return web.json_response({"seeded": len(body.keys)}, status=201)


def routes(emulator: Emulator) -> list[web.RouteDef]:
    """Return the routes of vaults and HSMs."""
    vaults = _Vaults(emulator)
    return [
        web.post("/control/vaults", vaults.add),
        web.patch("/control/vaults/{name}", vaults.change),
        web.delete("/control/vaults/{name}", vaults.delete),
        web.post("/control/vaults/{name}/permissions", vaults.change_permissions),
        web.post("/control/vaults/{name}/keys", vaults.add_keys),
    ]


def vault_summary(vault: Vault) -> dict[str, Any]:
    """Return what the control API tells of a vault."""
    return {
        "name": vault.name,
        "kind": vault.kind,
        "sku": vault.sku,
        "uri": f"{vault.base_url}/",
        "resource_id": vault.resource_id,
        "tenant_id": vault.tenant_id,
        "subscription_id": vault.subscription_id,
        "location": vault.location,
        "rbac": vault.rbac,
        "purge_protection": vault.purge_protection,
        "retention_days": vault.retention_days,
    }


def _vault(body: VaultBody, tenant_id: str, now: float) -> Vault:
    is_hsm = body.sku == "managed_hsm"
    vault = Vault(
        body.name,
        "managed_hsm" if is_hsm else "vault",
        "Standard_B1" if is_hsm else body.sku,
        body.subscription.lower(),
        body.resource_group,
        tenant_id,
        body.location,
        body.geography,
        body.security_domain or body.name,
        retention_days=body.retention_days,
        purge_protection=body.purge_protection,
        soft_delete=body.soft_delete,
        rbac=body.rbac,
        firewall=body.firewall,
        tags=body.tags,
        created_on=now,
    )
    vault.access_policies = _policies(body.access_policies, tenant_id)
    vault.role_assignments = _roles(body.role_assignments, vault)
    return vault


def _policies(bodies: list[PolicyBody], tenant_id: str) -> list[AccessPolicy]:
    return [AccessPolicy(tenant_id, body.object_id, _permissions(body.keys)) for body in bodies]


def _roles(bodies: list[RoleBody], vault: Vault) -> list[RoleAssignment]:
    return [RoleAssignment(body.object_id, body.role, body.scope or _whole(vault)) for body in bodies]


def _whole(vault: Vault) -> str:
    return vault.resource_id if vault.kind == "vault" else "/"


def _permissions(names: set[str]) -> set[str]:
    lower = {name.lower() for name in names}
    if unknown := lower - KEY_PERMISSIONS - {_ALL}:
        raise ControlError(400, "UnknownPermission", f"Not a key permission: {', '.join(sorted(unknown))}.")
    return set(KEY_PERMISSIONS) if _ALL in lower else lower


def _change_policy(vault: Vault, body: PermissionsBody) -> None:
    policy = next((p for p in vault.access_policies if p.object_id == body.object_id), None)
    if policy is None:
        policy = AccessPolicy(vault.tenant_id, body.object_id, set())
        vault.access_policies.append(policy)
    policy.keys = (policy.keys | _permissions(body.grant)) - _permissions(body.revoke)


def _change_roles(vault: Vault, body: PermissionsBody) -> None:
    scope = body.scope or _whole(vault)
    kept = [a for a in vault.role_assignments if a.object_id != body.object_id or a.role not in body.revoke]
    vault.role_assignments = kept + [RoleAssignment(body.object_id, role, scope) for role in sorted(body.grant)]
