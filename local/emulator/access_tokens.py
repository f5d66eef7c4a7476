"""What the access tokens of the emulated Entra say, for which audiences.

Azure's own resources get v1 tokens, APIs registered in a tenant v2 tokens; the two differ in issuer and in names of
claims. The audience is the resource as it is registered, without a trailing slash.
"""

import base64
import hashlib
import secrets
from typing import Any

from local.emulator.tokens import V1_ISSUER
from local.emulator.world import Principal, Tenant, World

TOKEN_EXCHANGE = "api://AzureADTokenExchange"
"""The audience of a managed identity's token that serves as a federated assertion."""

_USER_SCOPE = "user_impersonation"
AZURE_RESOURCES = frozenset(
    {
        "https://vault.azure.net",
        "https://vault.usgovcloudapi.net",
        "https://vault.azure.cn",
        "https://managedhsm.azure.net",
        "https://managedhsm.usgovcloudapi.net",
        "https://managedhsm.azure.cn",
        "https://management.azure.com",
        "https://management.core.windows.net",
        "https://management.usgovcloudapi.net",
        "https://management.chinacloudapi.cn",
        "https://storage.azure.com",
        "https://monitor.azure.com",
        "https://graph.microsoft.com",
    }
)


def is_known_resource(tenant: Tenant, resource: str) -> bool:
    """Return whether tokens for `resource` can be had in this tenant."""
    return resource in AZURE_RESOURCES or resource == TOKEN_EXCHANGE or resource in tenant.api_audiences


def access_token(world: World, principal: Principal, resource: str, *, client_id: str | None = None) -> str:
    """Return a signed access token; `client_id` is the application through which a user signed in."""
    if resource in AZURE_RESOURCES:
        claims = _v1_claims(principal, client_id or principal.client_id)
    else:
        claims = _v2_claims(principal, client_id or principal.client_id, world.entra_url)
    common = {"aud": resource, "oid": principal.object_id, "tid": principal.tenant_id, "uti": secrets.token_urlsafe(16)}
    return world.tokens.issue(common | claims)


def _v1_claims(principal: Principal, client_id: str) -> dict[str, Any]:
    issuer = V1_ISSUER.format(tenant_id=principal.tenant_id)
    claims: dict[str, Any] = {"iss": issuer, "idp": issuer, "appid": client_id, "ver": "1.0"}
    if principal.kind == "user":
        names = {"upn": principal.username, "unique_name": principal.username, "name": principal.display_name}
        return claims | names | {"appidacr": "0", "sub": _pairwise_subject(principal, client_id), "scp": _USER_SCOPE}
    acr = "2" if principal.kind == "managed_identity" or principal.certificates else "1"
    return claims | {"appidacr": acr, "sub": principal.object_id, "idtyp": "app"}


def _v2_claims(principal: Principal, client_id: str, entra_url: str) -> dict[str, Any]:
    claims = {"iss": f"{entra_url}/{principal.tenant_id}/v2.0", "azp": client_id, "ver": "2.0"}
    if principal.kind == "user":
        names = {
            "preferred_username": principal.username,
            "email": principal.username,
            "name": principal.display_name,
        }
        who = {"sub": _pairwise_subject(principal, client_id), "scp": _USER_SCOPE}
        return claims | who | names
    return claims | {"azpacr": "1", "sub": principal.object_id, "idtyp": "app"}


def _pairwise_subject(user: Principal, client_id: str) -> str:
    digest = hashlib.sha256(f"{user.object_id}:{client_id}".encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
