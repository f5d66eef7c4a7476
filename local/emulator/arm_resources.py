"""The JSON of vaults, managed HSMs and subscriptions as Azure Resource Manager shows them."""

from datetime import UTC, datetime
from typing import Any

from local.emulator.world import DeletedVault, Subscription, Vault

_SECONDS_PER_DAY = 86_400


def subscription_resource(subscription: Subscription) -> dict[str, Any]:
    """Return a subscription."""
    return {
        "id": f"/subscriptions/{subscription.id}",
        "subscriptionId": subscription.id,
        "tenantId": subscription.tenant_id,
        "displayName": subscription.display_name,
        "state": "Enabled",
        "authorizationSource": "RoleBased",
    }


def vault_resource(vault: Vault) -> dict[str, Any]:
    """Return a key vault or a managed HSM."""
    return _key_vault(vault) if vault.kind == "vault" else _managed_hsm(vault)


def deleted_resource(deleted: DeletedVault) -> dict[str, Any]:
    """Return a vault or HSM that was deleted."""
    vault = deleted.vault
    kind, id_member = ("deletedVaults", "vaultId") if vault.kind == "vault" else ("deletedManagedHSMs", "mhsmId")
    location = f"/subscriptions/{vault.subscription_id}/providers/Microsoft.KeyVault/locations/{vault.location}"
    properties: dict[str, Any] = {
        id_member: vault.resource_id,
        "location": vault.location,
        "tags": vault.tags,
        "deletionDate": _iso(deleted.deleted_on),
        "scheduledPurgeDate": _iso(deleted.deleted_on + vault.retention_days * _SECONDS_PER_DAY),
    }
    if vault.purge_protection or vault.kind == "managed_hsm":
        properties["purgeProtectionEnabled"] = vault.purge_protection
    return {
        "id": f"{location}/{kind}/{vault.name}",
        "name": vault.name,
        "type": f"Microsoft.KeyVault/{kind}",
        "properties": properties,
    }


def generic_resource(vault: Vault) -> dict[str, Any]:
    """Return what the list of all resources tells of a vault: no properties."""
    return {
        "id": vault.resource_id,
        "name": vault.name,
        "type": vault.resource_type,
        "location": vault.location,
        "tags": vault.tags,
    }


def _key_vault(vault: Vault) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "sku": {"family": "A", "name": vault.sku},
        "tenantId": vault.tenant_id,
        "networkAcls": _network_acls(vault),
        "accessPolicies": _access_policies(vault),
        "enabledForDeployment": False,
        "enableSoftDelete": vault.soft_delete,
        "softDeleteRetentionInDays": vault.retention_days,
        "enableRbacAuthorization": vault.rbac,
        "vaultUri": f"{vault.base_url}/",
        "provisioningState": "Succeeded",
        "publicNetworkAccess": "Enabled",
    }
    if vault.purge_protection:  # absent, not false, where it is off
        properties["enablePurgeProtection"] = True
    return generic_resource(vault) | {"systemData": _system_data(vault), "properties": properties}


def _managed_hsm(vault: Vault) -> dict[str, Any]:
    admins = [a.object_id for a in vault.role_assignments if a.role == "Managed HSM Administrator"]
    properties = {
        "tenantId": vault.tenant_id,
        "hsmUri": f"{vault.base_url}/",
        "initialAdminObjectIds": admins,
        "enableSoftDelete": True,
        "softDeleteRetentionInDays": vault.retention_days,
        "enablePurgeProtection": vault.purge_protection,
        "provisioningState": "Succeeded",
        "statusMessage": "The Managed HSM is provisioned and ready to use.",
        "networkAcls": _network_acls(vault),
        "regions": [],
        "publicNetworkAccess": "Enabled",
        "securityDomainProperties": {
            "activationStatus": "Active",
            "activationStatusMessage": "Your HSM has been activated and can be used for cryptographic operations.",
        },
    }
    sku = {"family": "B", "name": vault.sku}
    return {"sku": sku} | generic_resource(vault) | {"systemData": _system_data(vault), "properties": properties}


def _access_policies(vault: Vault) -> list[dict[str, Any]]:
    return [
        {
            "tenantId": policy.tenant_id,
            "objectId": policy.object_id,
            "permissions": {"keys": sorted(policy.keys), "secrets": [], "certificates": [], "storage": []},
        }
        for policy in vault.access_policies
    ]


def _network_acls(vault: Vault) -> dict[str, Any]:
    default = "Deny" if vault.firewall else "Allow"
    return {"bypass": "AzureServices", "defaultAction": default, "ipRules": [], "virtualNetworkRules": []}


def _system_data(vault: Vault) -> dict[str, str]:
    created = _iso(vault.created_on)
    who, by_type = "owner@contoso.example", "User"
    return {
        "createdBy": who,
        "createdByType": by_type,
        "createdAt": created,
        "lastModifiedBy": who,
        "lastModifiedByType": by_type,
        "lastModifiedAt": created,
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
