"""The grants of the token endpoint: who a token request is from and which resource it asks for.

Secrets and passwords are compared in constant time. Everything here raises `EntraError` and touches no HTTP.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from local.emulator import entra_errors
from local.emulator.access_tokens import is_known_resource
from local.emulator.client_assertions import verify_assertion
from local.emulator.world import Principal, Tenant, World

_OIDC_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})
_DEFAULT = "/.default"


@dataclass(frozen=True)
class Grant:
    """A token request that was found good."""

    principal: Principal
    client_id: str
    resource: str
    scope: str


def grant(world: World, tenant: Tenant, form: Mapping[str, str]) -> Grant:
    """Return what a token request may have; raises `EntraError`."""
    match form.get("grant_type"):
        case None | "":
            raise entra_errors.missing_parameter("grant_type")
        case "client_credentials":
            application = _application(world, tenant, form)
            _authenticate(world, tenant, application, form)
            principal = application
        case "password":
            application = _application(world, tenant, form)
            if form.get("client_secret") or form.get("client_assertion"):
                _authenticate(world, tenant, application, form)
            principal = _user(world, tenant, form)
        case other:
            raise entra_errors.unsupported_grant(other)
    resource = _resource(tenant, form)
    return Grant(principal, application.client_id, resource, form.get("scope", ""))


def _application(world: World, tenant: Tenant, form: Mapping[str, str]) -> Principal:
    client_id = form.get("client_id")
    if not client_id:
        raise entra_errors.missing_parameter("client_id")
    for principal in world.principals.values():
        is_client = principal.kind == "application" and principal.client_id == client_id.lower()
        if is_client and principal.tenant_id == tenant.id:
            return principal
    raise entra_errors.unknown_application(client_id, tenant.display_name)


def _authenticate(world: World, tenant: Tenant, application: Principal, form: Mapping[str, str]) -> None:
    if assertion := form.get("client_assertion"):
        verify_assertion(world, tenant, application, assertion)
    elif secret := form.get("client_secret"):
        _check_secret(application, secret, world.clock.token_now())
    else:
        raise entra_errors.missing_credential()


def _check_secret(application: Principal, presented: str, now: float) -> None:
    matching = [s for s in application.secrets if hmac.compare_digest(s.value.encode(), presented.encode())]
    if not matching:
        raise entra_errors.wrong_secret(application.client_id)
    if not any(secret.expires_on is None or now < secret.expires_on for secret in matching):
        raise entra_errors.expired_secret(application.client_id)


def _user(world: World, tenant: Tenant, form: Mapping[str, str]) -> Principal:
    username = form.get("username")
    if not username:
        raise entra_errors.missing_parameter("username")
    user = world.find_principal(username=username)
    if user is None or user.tenant_id != tenant.id:
        raise entra_errors.unknown_user(tenant.display_name)
    if not hmac.compare_digest((user.password or "").encode(), form.get("password", "").encode()) or not user.password:
        raise entra_errors.wrong_password()
    return user


def _resource(tenant: Tenant, form: Mapping[str, str]) -> str:
    resource = form.get("resource") or _resource_of_scope(form)
    resource = resource.rstrip("/")
    if not is_known_resource(tenant, resource):
        raise entra_errors.unknown_resource(resource, tenant.display_name)
    return resource


def _resource_of_scope(form: Mapping[str, str]) -> str:
    scope = form.get("scope", "")
    wanted = [part for part in scope.split() if part not in _OIDC_SCOPES]
    if not wanted or "://" not in wanted[0]:
        raise entra_errors.invalid_scope(scope)
    if wanted[0].endswith(_DEFAULT):
        return wanted[0].removesuffix(_DEFAULT)
    if form["grant_type"] == "client_credentials":
        raise entra_errors.scope_without_default(scope)
    return wanted[0].rpartition("/")[0]
