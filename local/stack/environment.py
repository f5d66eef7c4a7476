"""Environments of the parts, and the app settings that a deployment would have.

A child sees an allow-list of this process's variables, so that proxies, trust stores and credentials of the developer
do not reach it.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from local.emulator import seeds
from local.stack.azurite import StorageEndpoints
from local.stack.emulator import EmulatorEndpoints

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")


def base_environment(ca_file: Path, root: Path) -> dict[str, str]:
    """Return what every part gets: few variables of ours, and trust in the stack's own CA."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed_on | {
        "PYTHONPATH": str(root),
        "PYTHONUNBUFFERED": "1",
        "SSL_CERT_FILE": str(ca_file),
        "REQUESTS_CA_BUNDLE": str(ca_file),
    }


def identity_settings(emulator: EmulatorEndpoints) -> dict[str, str]:
    """Return what App Service gives to an app with a user-assigned identity."""
    return {
        "IDENTITY_ENDPOINT": emulator.identity_endpoint,
        "IDENTITY_HEADER": emulator.identity_header,
        "AZURE_CLIENT_ID": seeds.IDENTITY_CLIENT_ID,
    }


def app_settings(emulator: EmulatorEndpoints, storage: StorageEndpoints, sealing_key: str) -> dict[str, str]:
    """Return the app settings of a deployment, with this stack's endpoints."""
    return identity_settings(emulator) | {
        "AzureWebJobsStorage__credential": "managedidentity",
        "AzureWebJobsStorage__clientId": seeds.IDENTITY_CLIENT_ID,
        "AzureWebJobsStorage__blobServiceUri": storage.blob,
        "AzureWebJobsStorage__queueServiceUri": storage.queue,
        "AzureWebJobsStorage__tableServiceUri": storage.table,
        "KEYSTEWARD_TENANT_ID": seeds.CONTOSO_TENANT_ID,
        "KEYSTEWARD_FIRST_ADMIN": seeds.USER_OBJECT_IDS["alice"],
        "KEYSTEWARD_SEALING_KEY": sealing_key,
        # Whoever runs the stack owns everything in it; a deployment names identities and accounts.
        "KEYSTEWARD_IDENTITIES": json.dumps({"*": "*"}),
        "KEYSTEWARD_CLOUD": json.dumps(_private_cloud(emulator)),
    }


def _private_cloud(emulator: EmulatorEndpoints) -> Mapping[str, str | bool]:
    # Host names on loopback follow no cloud's pattern, and no public endpoint knows this authority.
    return {
        "authority": emulator.entra_url,
        "resource_manager": emulator.arm_url,
        "resource_manager_scope": "https://management.azure.com/.default",
        "key_vault_scope": "https://vault.azure.net/.default",
        "managed_hsm_scope": "https://managedhsm.azure.net/.default",
        "verify_challenge_resource": False,
        "discover_instance": False,
    }
