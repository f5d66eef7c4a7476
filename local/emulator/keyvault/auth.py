"""Who calls, and whether they may: challenge, token, firewall, access policies, RBAC.

Nothing of a request is looked at before its token is verified. Access policies and role assignments are read
on every request, so a permission that is taken away is gone at once.
"""

from http import HTTPStatus

from aiohttp import hdrs, web

from local.emulator.keyvault.errors import KeyVaultError, forbidden
from local.emulator.keyvault.kinds import is_hsm
from local.emulator.keyvault.operations import Operation, Route
from local.emulator.keyvault.roles import actions_of
from local.emulator.tokens import TokenError, VerifiedToken
from local.emulator.world import RoleAssignment, Vault, World

VAULT_RESOURCE = "https://vault.azure.net"
HSM_RESOURCE = "https://managedhsm.azure.net"
_ISSUER = "https://sts.windows.net/{tenant_id}/"


class NotAuthenticatedError(Exception):
    """A missing or refused token; `body` may be empty, the challenge never is."""

    def __init__(self, body: bytes, challenge: str) -> None:
        super().__init__("not authenticated")
        self.body = body
        self.challenge = challenge


def resource_of(vault: Vault) -> str:
    """Return the audience that tokens for this data plane must have."""
    return HSM_RESOURCE if is_hsm(vault) else VAULT_RESOURCE


def authenticate(world: World, vault: Vault, request: web.Request) -> VerifiedToken:
    """Return the verified token of a request.

    Raises:
        NotAuthenticatedError: there is none, or it is not good for this vault.

    """
    resource = resource_of(vault)
    authorization = request.headers.get(hdrs.AUTHORIZATION)
    try:
        return world.tokens.verify(authorization, audiences=(resource,), tenant_id=vault.tenant_id)
    except TokenError as error:
        challenge = f'Bearer authorization="{world.entra_url}/{vault.tenant_id}", resource="{resource}"'
        raise NotAuthenticatedError(_refusal(vault, error), challenge) from error


def _refusal(vault: Vault, error: TokenError) -> bytes:
    match error.reason:
        case "missing":
            if is_hsm(vault):
                return b""
            message = "AKV10000: Request is missing a Bearer, PoP, or MTLS_POP token."
        case "bad_audience":
            message = f"AKV10022: Invalid audience. Expected {resource_of(vault)}, found: {error.found_audience}."
        case "bad_issuer":
            expected = _ISSUER.format(tenant_id=vault.tenant_id)
            message = f"AKV10032: Invalid issuer. Expected one of {expected}."
        case "expired":
            message = "[TokenExpired] Error validating token: 'S2S12086'."
        case _:
            message = "[BearerReadAccessTokenFailed] Error validating token: 'S2S12005'."
    return KeyVaultError(HTTPStatus.UNAUTHORIZED, "Unauthorized", message).body(managed_hsm=is_hsm(vault))


def authorize(vault: Vault, caller: VerifiedToken, route: Route) -> None:
    """Raise `Forbidden` unless the caller may do what the route asks for."""
    if vault.firewall:
        message = "Client address is not authorized and caller is not a trusted service."
        raise forbidden(f"{message}\r\nCaller: {_caller(caller)}\r\n{_location(vault)}", "ForbiddenByFirewall")
    if is_hsm(vault):
        _authorize_locally(vault, caller, route)
    elif vault.rbac:
        _authorize_by_role(vault, caller, route)
    else:
        _authorize_by_policy(vault, caller, route.operation)


def _authorize_by_policy(vault: Vault, caller: VerifiedToken, operation: Operation) -> None:
    known = False
    for policy in vault.access_policies:
        if policy.object_id == caller.object_id and policy.tenant_id == caller.tenant_id:
            known = True
            if operation.permission in policy.keys:
                return
    # Both wordings are seen in the wild; which one when is not known, so the emulator sends each.
    if known:
        raise forbidden(
            f"The user, group or application '{_caller(caller)}' does not have keys {operation.permission} permission "
            f"on key vault '{vault.name};location={vault.location}'. For help resolving this issue, please see "
            "https://go.microsoft.com/fwlink/?linkid=2125287",
            "AccessDenied",
        )
    raise forbidden(
        f'Operation is not allowed.\r\nOperation: "{operation.permission}"\r\n'
        f"Caller: {_caller(caller, groups=True)}\r\n{_location(vault)}",
        "ForbiddenByPolicy",
    )


def _authorize_by_role(vault: Vault, caller: VerifiedToken, route: Route) -> None:
    resource = f"{vault.resource_id}/keys/{route.name}" if route.name else vault.resource_id
    if any(
        _is_within(resource, assignment.scope) for assignment in _assignments(vault, caller, route.operation.action)
    ):
        return
    raise forbidden(
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role "
        "definitions were changed recently, please observe propagation time.\r\n"
        f"Caller: {_caller(caller)}\r\nAction: 'Microsoft.KeyVault/vaults/{route.operation.action}'\r\n"
        f"Resource: '{resource.lower()}'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\n"
        f"DecisionReason: null \r\n{_location(vault)}\r\n",
        "ForbiddenByRbac",
    )


def _authorize_locally(vault: Vault, caller: VerifiedToken, route: Route) -> None:
    resource = f"/keys/{route.name}" if route.name else "/keys"
    if any(
        _is_within(resource, assignment.scope) for assignment in _assignments(vault, caller, route.operation.hsm_action)
    ):
        return
    message = f"Not authorized to access Microsoft.KeyVault/managedHsm/{route.operation.hsm_action} on {resource}"
    raise KeyVaultError(HTTPStatus.FORBIDDEN, "AccessDenied", message)


def _assignments(vault: Vault, caller: VerifiedToken, action: str) -> list[RoleAssignment]:
    mine = (item for item in vault.role_assignments if item.object_id == caller.object_id)
    return [item for item in mine if action in actions_of(item.role)]


def _is_within(resource: str, scope: str) -> bool:
    bare = scope.rstrip("/").lower()
    return f"{resource.lower()}/".startswith(f"{bare}/")


def _caller(caller: VerifiedToken, *, groups: bool = False) -> str:
    counted = "numgroups=0;" if groups else ""
    issuer = _ISSUER.format(tenant_id=caller.tenant_id)
    return f"appid={caller.client_id};oid={caller.object_id};{counted}iss={issuer}"


def _location(vault: Vault) -> str:
    return f"Vault: {vault.name};location={vault.location}"
