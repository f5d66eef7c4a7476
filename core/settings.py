"""Application settings, read once from the environment; the names are documented in docs/settings.md.

Nothing here is a secret: the app's own identity is a managed identity.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from core.domain.clouds import CLOUDS, Cloud, CloudName
from core.domain.identity_use import IdentityOffer

_TRUE = frozenset({"true", "1"})
_IDENTITIES = TypeAdapter(dict[str, Literal["*"] | list[str]])


class SettingsError(Exception):
    """A setting is missing or malformed; the message names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of the app.

    `home_tenant` and `first_admin` (an Entra object id in it) name who may create accounts.
    `sealing_key` is the full id of the sealing key in the platform vault, without a version.
    `identities` says which accounts may connect groups with which identities of the deployment.
    `platform_authentication` is the platform's word that it verifies callers (App Service sets WEBSITE_AUTH_ENABLED).
    """

    home_tenant: str
    first_admin: str
    sealing_key: str
    cloud: Cloud
    table_service: str
    blob_service: str
    queue_service: str
    identity_client_id: str | None
    federated_token_file: Path | None
    identities: IdentityOffer
    platform_authentication: bool

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the settings, or say which one is wrong."""
        cloud = _cloud(environment.get("KEYSTEWARD_CLOUD", CloudName.PUBLIC.value))
        own_identity = environment.get("AzureWebJobsStorage__clientId")
        token_file = environment.get("AZURE_FEDERATED_TOKEN_FILE")
        return cls(
            home_tenant=_required(environment, "KEYSTEWARD_TENANT_ID"),
            first_admin=_required(environment, "KEYSTEWARD_FIRST_ADMIN"),
            sealing_key=_required(environment, "KEYSTEWARD_SEALING_KEY"),
            cloud=cloud,
            table_service=_required(environment, "AzureWebJobsStorage__tableServiceUri"),
            blob_service=_required(environment, "AzureWebJobsStorage__blobServiceUri"),
            queue_service=_required(environment, "AzureWebJobsStorage__queueServiceUri"),
            identity_client_id=own_identity,
            federated_token_file=Path(token_file) if token_file else None,
            identities=IdentityOffer(cloud, own_identity, _offered(environment.get("KEYSTEWARD_IDENTITIES", "{}"))),
            platform_authentication=environment.get("WEBSITE_AUTH_ENABLED", "").lower() in _TRUE,
        )


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise SettingsError(f"The setting {name} is missing.")
    return value


def _cloud(text: str) -> Cloud:
    """A cloud's name, or a JSON object with a private cloud's endpoints (the members of `Cloud`)."""
    if text in CLOUDS:
        return CLOUDS[CloudName(text)]
    try:
        return Cloud(**{**json.loads(text), "name": CloudName.CUSTOM})
    except (ValueError, TypeError) as error:
        raise SettingsError(
            "The setting KEYSTEWARD_CLOUD is neither a cloud's name nor a cloud's endpoints."
        ) from error


def _offered(text: str) -> dict[str, frozenset[str]]:
    """A JSON object: client id (or `*`) to a list of account ids, or to `*`."""
    try:
        offered = _IDENTITIES.validate_json(text)
    except ValidationError as error:
        message = "The setting KEYSTEWARD_IDENTITIES is no JSON object of client ids and their accounts."
        raise SettingsError(message) from error
    return {client_id.lower(): frozenset(accounts) for client_id, accounts in offered.items()}
