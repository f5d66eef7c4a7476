"""Clouds: where a group's sign-in, management and vault endpoints are.

Sources of the endpoints: Microsoft's 'Azure Key Vault security domains and endpoints' and 'National clouds' pages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class CloudName(StrEnum):
    """The clouds a group can be in; `CUSTOM` carries its own endpoints."""

    PUBLIC = "public"
    USGOV = "usgov"
    CHINA = "china"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class Cloud:
    """Endpoints and token scopes of one cloud; all URLs are https without a trailing slash.

    `verify_challenge_resource`: whether a vault's host must end with the resource that its 401 challenge names.
    `discover_instance`: whether the SDK asks the public instance-discovery endpoint about the authority.
    Private clouds whose host names do not follow Azure's turn both off.
    """

    name: CloudName
    authority: str
    resource_manager: str
    resource_manager_scope: str
    key_vault_scope: str
    managed_hsm_scope: str
    verify_challenge_resource: bool = True
    discover_instance: bool = True


CLOUDS: Mapping[CloudName, Cloud] = MappingProxyType(
    {
        CloudName.PUBLIC: Cloud(
            CloudName.PUBLIC,
            "https://login.microsoftonline.com",
            "https://management.azure.com",
            "https://management.azure.com/.default",
            "https://vault.azure.net/.default",
            "https://managedhsm.azure.net/.default",
        ),
        CloudName.USGOV: Cloud(
            CloudName.USGOV,
            "https://login.microsoftonline.us",
            "https://management.usgovcloudapi.net",
            "https://management.usgovcloudapi.net/.default",
            "https://vault.usgovcloudapi.net/.default",
            "https://managedhsm.usgovcloudapi.net/.default",
        ),
        CloudName.CHINA: Cloud(
            CloudName.CHINA,
            "https://login.chinacloudapi.cn",
            "https://management.chinacloudapi.cn",
            "https://management.chinacloudapi.cn/.default",
            "https://vault.azure.cn/.default",
            "https://managedhsm.azure.cn/.default",
        ),
    }
)
