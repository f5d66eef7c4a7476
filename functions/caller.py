"""Who is calling: the platform's principal header, or an application's API key.

Invariants: the principal header counts only where the platform says that it authenticates callers, because it then
strips what clients send; a request proves one identity, never two.
"""

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Mapping

import azure.functions as func

from core.domain.api_key_tokens import PREFIX
from core.domain.callers import Caller, CallerKind
from core.domain.identities import entra_principal_id, is_guid
from core.domain.secrets import SecretText
from core.errors import NotAuthenticatedError

_PRINCIPAL_HEADER = "x-ms-client-principal"
_MAX_PRINCIPAL = 65_536
_MICROSOFT = "http://schemas.microsoft.com/identity/claims"
_SOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
# The platform maps Entra's claim names to URIs by default, and keeps them short where the mapping is turned off.
_TENANT = ("tid", f"{_MICROSOFT}/tenantid")
_OBJECT = ("oid", f"{_MICROSOFT}/objectidentifier")
_SUBJECT = ("sub", f"{_SOAP}/nameidentifier")
_NAME = ("name", f"{_SOAP}/name")
_EMAIL = ("preferred_username", "upn", f"{_SOAP}/upn", "email", f"{_SOAP}/emailaddress")
_APPLICATION = ("azp", "appid")


#: Proves an API key: returns the application that holds it, or raises NotAuthenticatedError.
type ApiKeyVerifier = Callable[[SecretText], Awaitable[Caller]]


async def resolve(req: func.HttpRequest, verify_api_key: ApiKeyVerifier, *, platform_authentication: bool) -> Caller:
    """Return who calls; NotAuthenticatedError says why nobody does."""
    principal = req.headers.get(_PRINCIPAL_HEADER) if platform_authentication else None
    api_key = _api_key(req.headers.get("authorization"))
    if principal is not None and api_key is not None:
        detail = "The request carries both a platform identity and an API key."
        raise NotAuthenticatedError(detail, code="ambiguous_credentials")
    if principal is not None:
        return caller_of(principal)
    if api_key is not None:
        return await verify_api_key(api_key)
    raise NotAuthenticatedError("This needs a signed-in user, a service principal or an API key.")


def caller_of(principal_header: str) -> Caller:
    """Read the platform's principal header; NotAuthenticatedError `principal_unusable` if it names nobody."""
    claims = _claims(principal_header)
    tenant, object_id = _first(claims, _TENANT), _first(claims, _OBJECT)
    if tenant is None or object_id is None or not is_guid(tenant) or not is_guid(object_id):
        raise _unusable("The platform's identity has no tenant or no object id.")
    # Entra puts `idtyp` into tokens on request only; `sub` equals `oid` in the tokens of applications and in no others.
    app_only = claims.get("idtyp") == "app" or ("idtyp" not in claims and _first(claims, _SUBJECT) == object_id)
    email = None if app_only else _first(claims, _EMAIL)
    fallback = (_first(claims, _APPLICATION) if app_only else email) or object_id
    return Caller(
        kind=CallerKind.SERVICE_PRINCIPAL if app_only else CallerKind.USER,
        principal=entra_principal_id(tenant, object_id),
        display_name=_first(claims, _NAME) or fallback,
        tenant_id=tenant.lower(),
        object_id=object_id.lower(),
        email=email.lower() if email else None,
    )


def _api_key(authorization: str | None) -> SecretText | None:
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    presented = scheme.lower() == "bearer" and token.isascii() and token.startswith(PREFIX)
    return SecretText(token) if presented else None


def _claims(header: str) -> Mapping[str, str]:
    if len(header) > _MAX_PRINCIPAL:
        raise _unusable("The platform's identity is too large.")
    try:
        listed = json.loads(base64.b64decode(header, validate=True))["claims"]
        found: dict[str, str] = {}
        for claim in listed:
            found.setdefault(str(claim["typ"]), _clean(claim["val"]))
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        raise _unusable("The platform's identity cannot be read.") from None
    return found


def _clean(value: object) -> str:
    # JSON may escape half a surrogate pair, which no store takes.
    return str(value).encode(errors="replace").decode()


def _first(claims: Mapping[str, str], types: tuple[str, ...]) -> str | None:
    return next((claims[type_] for type_ in types if claims.get(type_)), None)


def _unusable(detail: str) -> NotAuthenticatedError:
    return NotAuthenticatedError(detail, code="principal_unusable")
