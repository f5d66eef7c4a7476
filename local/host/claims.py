"""The platform's principal headers, made from verified claims.

Names of claim types are those to which the platform maps Entra's short ones (the inbound claim map of Microsoft's JWT
handler); a claim that is not in the map keeps its name. A claim with several values appears once for each.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

_SCHEMA = "http://schemas.microsoft.com"
_SOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
_NAME_TYPE = f"{_SOAP}/emailaddress"
_ROLE_TYPE = f"{_SCHEMA}/ws/2008/06/identity/claims/role"
_CLAIM_TYPES = {
    "oid": f"{_SCHEMA}/identity/claims/objectidentifier",
    "tid": f"{_SCHEMA}/identity/claims/tenantid",
    "scp": f"{_SCHEMA}/identity/claims/scope",
    "idp": f"{_SCHEMA}/identity/claims/identityprovider",
    "acr": f"{_SCHEMA}/claims/authnclassreference",
    "amr": f"{_SCHEMA}/claims/authnmethodsreferences",
    "roles": _ROLE_TYPE,
    "sub": f"{_SOAP}/nameidentifier",
    "email": f"{_SOAP}/emailaddress",
    "upn": f"{_SOAP}/upn",
    "unique_name": f"{_SOAP}/name",
    "given_name": f"{_SOAP}/givenname",
    "family_name": f"{_SOAP}/surname",
}


def principal_headers(claims: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers, names in lower case, that the platform adds to a request with these claims."""
    principal = {
        "auth_typ": "aad",
        "claims": [{"typ": _CLAIM_TYPES.get(name, name), "val": value} for name, value in _flat(claims)],
        "name_typ": _NAME_TYPE,
        "role_typ": _ROLE_TYPE,
    }
    name = claims.get("preferred_username") or claims.get("upn") or claims.get("email") or claims.get("azp") or ""
    return {
        "x-ms-client-principal": base64.b64encode(json.dumps(principal).encode()).decode(),
        "x-ms-client-principal-id": str(claims.get("oid") or claims.get("sub") or ""),
        "x-ms-client-principal-name": str(name),
        "x-ms-client-principal-idp": "aad",
    }


def _flat(claims: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in claims.items():
        for item in value if isinstance(value, list) else [value]:
            yield name, item if isinstance(item, str) else json.dumps(item)
