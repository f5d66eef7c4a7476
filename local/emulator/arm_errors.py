"""Errors of the emulated Azure Resource Manager, with the codes and the wording of the real one."""

import json
from datetime import UTC, datetime

from aiohttp import web

from local.emulator.tokens import TokenError

ARM_AUDIENCES = ("https://management.azure.com", "https://management.core.windows.net")
"""The audiences that ARM accepts, without a trailing slash."""


def arm_error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.HTTPException:
    """Return an ARM error to raise."""
    body = json.dumps({"error": {"code": code, "message": message}})
    kind = {
        400: web.HTTPBadRequest,
        401: web.HTTPUnauthorized,
        403: web.HTTPForbidden,
        404: web.HTTPNotFound,
    }[status]
    return kind(text=body, content_type="application/json", headers=headers)


def unauthenticated(error: TokenError, entra_url: str) -> web.HTTPException:
    """Return the 401 for a token that was refused."""
    code, message = _refusal(error)
    challenge = f'Bearer authorization_uri="{entra_url}", error="invalid_token", error_description="{message}"'
    return arm_error(401, code, message, {"WWW-Authenticate": challenge})


def _refusal(error: TokenError) -> tuple[str, str]:
    match error.reason:
        case "missing":
            return "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."
        case "expired":
            now = datetime.now(UTC).strftime("%m/%d/%Y %I:%M:%S %p")
            return (
                "ExpiredAuthenticationToken",
                f"The access token expiry UTC time is earlier than current UTC '{now}'.",
            )
        case "bad_audience":
            allowed = ",".join(f"'{audience}/','{audience}'" for audience in ARM_AUDIENCES)
            message = (
                f"The access token has been obtained for wrong audience or resource '{error.found_audience}'."
                f" It should exactly match with one of the allowed audiences {allowed}."
            )
            return "InvalidAuthenticationTokenAudience", message
        case _:
            return "InvalidAuthenticationToken", "The access token is invalid."


def wrong_tenant(found: str, wanted: str) -> web.HTTPException:
    """Return the 401 for a token of another tenant than the subscription's."""
    message = (
        f"The access token is from the wrong issuer 'https://sts.windows.net/{found}/'. It must match the tenant"
        f" 'https://sts.windows.net/{wanted}/' associated with this subscription. Please use the authority (URL)"
        f" 'https://login.windows.net/{wanted}' to get the token."
    )
    return arm_error(401, "InvalidAuthenticationTokenTenant", message)


def missing_api_version() -> web.HTTPException:
    """Return the 400 for a request without `api-version`."""
    message = "The api-version query parameter (?api-version=) is required for all requests."
    return arm_error(400, "MissingApiVersionParameter", message)


def malformed_subscription(subscription_id: str) -> web.HTTPException:
    """Return the 400 for a subscription id that is no GUID."""
    message = f"The provided subscription identifier '{subscription_id}' is malformed or invalid."
    return arm_error(400, "InvalidSubscriptionId", message)


def unknown_subscription(subscription_id: str) -> web.HTTPException:
    """Return the 404 for a subscription that does not exist."""
    return arm_error(404, "SubscriptionNotFound", f"The subscription '{subscription_id}' could not be found.")


def not_authorized(object_id: str, action: str, scope: str) -> web.HTTPException:
    """Return the 403 for a caller without the needed role."""
    message = (
        f"The client '{object_id}' with object id '{object_id}' does not have authorization to perform action"
        f" '{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh"
        " your credentials."
    )
    return arm_error(403, "AuthorizationFailed", message)


def unknown_resource(resource_type: str, name: str, group: str) -> web.HTTPException:
    """Return the 404 for a resource that does not exist."""
    message = (
        f"The Resource '{resource_type}/{name}' under resource group '{group}' was not found. For more details please"
        " go to https://aka.ms/ARMResourceNotFoundFix"
    )
    return arm_error(404, "ResourceNotFound", message)


def unknown_deleted_vault(name: str) -> web.HTTPException:
    """Return the 404 for a deleted vault that does not exist."""
    return arm_error(404, "DeletedVaultNotFound", f"The specified deleted vault '{name}' does not exist.")
