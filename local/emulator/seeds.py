"""The world of a fresh data folder. The ids and passwords are constants, so that demos and tests may rely on them."""

import secrets

from local.emulator.world import EVERYBODY, Principal, RoleAssignment, Subscription, Tenant, Vault, World

CONTOSO_TENANT_ID = "11111111-1111-1111-1111-111111111111"
SUBSCRIPTION_ID = "22222222-2222-2222-2222-222222222222"

API_AUDIENCE = "api://keysteward"
"""The application whose tokens users and services present to the product."""
API_CLIENT_ID = "33333333-3333-3333-3333-333333333333"
API_OBJECT_ID = "33333333-3333-3333-3333-333333333334"

IDENTITY_CLIENT_ID = "44444444-4444-4444-4444-444444444444"
IDENTITY_OBJECT_ID = "44444444-4444-4444-4444-444444444445"

USER_PASSWORD = "Correct-Horse-7"
"""The password of each seeded user."""
USER_OBJECT_IDS = {
    "alice": "aaaaaaaa-0000-0000-0000-00000000000a",
    "bob": "bbbbbbbb-0000-0000-0000-00000000000b",
    "carol": "cccccccc-0000-0000-0000-00000000000c",
    "dave": "dddddddd-0000-0000-0000-00000000000d",
}
USER_DOMAIN = "contoso.example"

PLATFORM_VAULT = "platform"
"""The vault whose keys the product's managed identity uses."""


def populate(world: World) -> None:
    """Put the starting world into an empty one."""
    world.identity_header = world.identity_header or secrets.token_urlsafe(32)
    world.tenants[CONTOSO_TENANT_ID] = Tenant(CONTOSO_TENANT_ID, "contoso", USER_DOMAIN, [API_AUDIENCE])
    for principal in (_application(), _identity(), *(_user(name) for name in USER_OBJECT_IDS)):
        world.principals[principal.object_id] = principal
    world.subscriptions[SUBSCRIPTION_ID] = Subscription(
        SUBSCRIPTION_ID, CONTOSO_TENANT_ID, "Contoso production", {EVERYBODY}
    )
    world.vaults[PLATFORM_VAULT] = _platform_vault(world.clock.now())


def _application() -> Principal:
    return Principal(CONTOSO_TENANT_ID, API_OBJECT_ID, API_CLIENT_ID, "Keysteward API", "application")


def _identity() -> Principal:
    return Principal(CONTOSO_TENANT_ID, IDENTITY_OBJECT_ID, IDENTITY_CLIENT_ID, "keysteward", "managed_identity")


def _user(name: str) -> Principal:
    return Principal(
        CONTOSO_TENANT_ID,
        USER_OBJECT_IDS[name],
        "",
        name.capitalize(),
        "user",
        username=f"{name}@{USER_DOMAIN}",
        password=USER_PASSWORD,
    )


def _platform_vault(now: float) -> Vault:
    vault = Vault(
        PLATFORM_VAULT,
        "vault",
        "premium",
        SUBSCRIPTION_ID,
        "platform",
        CONTOSO_TENANT_ID,
        "westeurope",
        "Europe",
        PLATFORM_VAULT,
        purge_protection=True,
        rbac=True,
        created_on=now,
    )
    roles = ("Key Vault Crypto User", "Key Vault Crypto Officer")
    vault.role_assignments = [RoleAssignment(IDENTITY_OBJECT_ID, role, vault.resource_id) for role in roles]
    return vault
