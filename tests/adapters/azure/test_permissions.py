"""The probe of the ten key permissions, on every kind of access control, and that it changes nothing."""

from collections.abc import Iterable

import pytest

from core.adapters.azure import retries
from core.adapters.azure.vaults import AzureVaults
from core.domain.connections import KEY_PERMISSIONS, PermissionState, VaultFacts
from tests.builders.azure import Application, AzureWorld

HELD, MISSING, UNKNOWN = PermissionState.HELD, PermissionState.MISSING, PermissionState.UNKNOWN
USER = {"get", "list", "update", "backup"}
OFFICER = {"get", "list", "update", "create", "import", "delete", "recover", "backup", "restore", "purge"}
HSM_USER = OFFICER - {"recover", "purge"}


def only(held: Iterable[str]) -> dict[str, PermissionState]:
    return {name: HELD if name in set(held) else MISSING for name in KEY_PERMISSIONS}


async def probed(
    azure: AzureWorld, vaults: AzureVaults, application: Application, vault: VaultFacts
) -> dict[str, PermissionState]:
    return dict((await vaults.test(azure.connection(application), vault)).permissions)


@pytest.mark.parametrize("held", [{"list", name} for name in KEY_PERMISSIONS], ids=KEY_PERMISSIONS)
async def test_each_permission_of_an_access_policy_is_told_apart(
    azure: AzureWorld, application: Application, vaults: AzureVaults, held: set[str]
) -> None:
    policy = {"object_id": application.object_id, "keys": sorted(held)}
    vault = await azure.vault(access_policies=[policy])
    assert await probed(azure, vaults, application, vault) == only(held)


@pytest.mark.parametrize(
    ("role", "held"),
    [
        ("Key Vault Reader", {"get", "list"}),
        ("Key Vault Crypto User", USER),
        ("Key Vault Crypto Officer", OFFICER),
        ("Key Vault Crypto Service Release User", set()),
    ],
)
async def test_roles_of_a_vault(
    azure: AzureWorld, application: Application, vaults: AzureVaults, role: str, held: set[str]
) -> None:
    assignment = {"object_id": application.object_id, "role": role}
    vault = await azure.vault(sku="premium", rbac=True, role_assignments=[assignment])
    assert await probed(azure, vaults, application, vault) == only(held)


@pytest.mark.parametrize(
    ("roles", "held"),
    [
        (["Managed HSM Crypto User"], HSM_USER),
        (["Managed HSM Crypto User", "Managed HSM Crypto Officer"], OFFICER),
        (["Managed HSM Backup"], {"backup"}),
    ],
)
async def test_roles_of_a_managed_hsm(
    azure: AzureWorld, application: Application, vaults: AzureVaults, roles: list[str], held: set[str]
) -> None:
    assignments = [{"object_id": application.object_id, "role": role} for role in roles]
    vault = await azure.vault(sku="managed_hsm", role_assignments=assignments)
    assert await probed(azure, vaults, application, vault) == only(held)


async def test_purge_protection_does_not_look_like_a_missing_permission(
    azure: AzureWorld, application: Application, vaults: AzureVaults
) -> None:
    vault = await azure.vault(application, purge_protection=True)
    assert (await probed(azure, vaults, application, vault))["purge"] is not MISSING


@pytest.mark.parametrize("sku", ["standard", "managed_hsm"])
async def test_a_probe_changes_nothing(
    azure: AzureWorld, application: Application, vaults: AzureVaults, sku: str
) -> None:
    vault = await azure.vault(application, sku=sku)
    await azure.seed(
        vault,
        {"name": "k", "kty": "EC-HSM" if sku == "managed_hsm" else "EC"},
        {"name": "d", "deleted": True, "kty": "EC-HSM" if sku == "managed_hsm" else "EC"},
    )
    async with vaults.keys("grp_p", azure.connection(application), vault) as keys:
        before = [[page async for page in pages] for pages in (keys.list_keys(), keys.list_deleted())]
        await probed(azure, vaults, application, vault)
        assert [[page async for page in pages] for pages in (keys.list_keys(), keys.list_deleted())] == before


async def test_what_a_failing_vault_does_not_tell_is_unknown(
    azure: AzureWorld, application: Application, vaults: AzureVaults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(retries._DEFAULTS, "retry_backoff_factor", 0.01)
    vault = await azure.vault(application)
    await azure.fault(action={"kind": "respond", "status": 500}, vault=vault.name, method="PATCH")
    states = await probed(azure, vaults, application, vault)
    assert states == {**only(OFFICER), "update": UNKNOWN}
