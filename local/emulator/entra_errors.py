"""Errors of the emulated Entra, with the codes and the wording of the real one."""

import uuid
from datetime import UTC, datetime
from typing import Any


class EntraError(Exception):
    """An answer of the token or discovery endpoint: HTTP status, OAuth error, AADSTS number and text."""

    def __init__(self, status: int, error: str, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.code = code
        self.message = message

    def body(self, now: float, correlation_id: str | None) -> dict[str, Any]:
        """Return the JSON body; `now` is in seconds since 1970."""
        timestamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        trace, correlation = str(uuid.uuid4()), correlation_id or str(uuid.uuid4())
        ids = f"Trace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {timestamp}"
        return {
            "error": self.error,
            "error_description": f"AADSTS{self.code}: {self.message} {ids}",
            "error_codes": [self.code],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://login.microsoftonline.com/error?code={self.code}",
        }


def unknown_tenant(tenant: str, *, error: str) -> EntraError:
    """The tenant does not exist; `error` differs between the endpoints."""
    message = (
        f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the"
        " correct cloud. Check with your subscription administrator, this may happen if there are no active"
        " subscriptions for the tenant."
    )
    return EntraError(400, error, 90002, message)


def unknown_application(client_id: str, tenant: str) -> EntraError:
    """No application has this client id in the tenant."""
    message = (
        f"Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can happen if the"
        " application has not been installed by the administrator of the tenant or consented to by any user in the"
        " tenant. You may have sent your authentication request to the wrong tenant."
    )
    return EntraError(400, "unauthorized_client", 700016, message)


def wrong_secret(client_id: str) -> EntraError:
    """The client secret is none of the application's."""
    message = (
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not"
        f" the client secret ID, for a secret added to app '{client_id}'."
    )
    return EntraError(401, "invalid_client", 7000215, message)


def expired_secret(client_id: str) -> EntraError:
    """The client secret was the application's, and is past its end."""
    message = (
        f"The provided client secret keys for app '{client_id}' are expired. Visit the Azure portal to create new keys"
        " for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security:"
        " https://aka.ms/certCreds."
    )
    return EntraError(401, "invalid_client", 7000222, message)


def missing_credential() -> EntraError:
    """A client credentials request without any credential."""
    message = "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type."
    return EntraError(401, "invalid_client", 7000216, message)


def malformed_assertion() -> EntraError:
    """The client assertion is no JWT."""
    return EntraError(400, "invalid_request", 50027, "JWT token is invalid or malformed.")


def unregistered_certificate(thumbprint: str) -> EntraError:
    """The assertion names a certificate that the application does not have."""
    message = (
        "The certificate with identifier used to sign the client assertion is not registered on application. [Reason -"
        f" The key was not found., Thumbprint of key used by client: '{thumbprint}']"
    )
    return EntraError(401, "invalid_client", 700027, message)


def bad_assertion_signature() -> EntraError:
    """The assertion's signature does not hold."""
    message = (
        "Client assertion contains an invalid signature. [Reason - The provided signature value did not match the"
        " expected signature value.]"
    )
    return EntraError(401, "invalid_client", 700027, message)


def assertion_out_of_time() -> EntraError:
    """The assertion is not valid now."""
    return EntraError(401, "invalid_client", 700024, "Client assertion is not within its valid time range.")


def wrong_assertion_audience() -> EntraError:
    """The assertion was made for something else than this token endpoint."""
    message = "Client assertion audience claim does not match Realm issuer."
    return EntraError(401, "invalid_client", 700023, message)


def expired_certificate() -> EntraError:
    """The certificate that signed the assertion is past its end."""
    message = "The provided certificate is not within its specified validity period."
    return EntraError(401, "invalid_client", 1000502, message)


_FEDERATED_CODES = {"issuer": 700211, "audience": 700212, "subject": 700213}


def no_federated_record(member: str, value: str) -> EntraError:
    """No federated credential of the application matches the assertion's issuer, audience or subject."""
    message = (
        f"No matching federated identity record found for presented assertion {member} '{value}'. Check your federated"
        " identity credential Subject, Audience and Issuer against the presented assertion."
    )
    return EntraError(401, "invalid_client", _FEDERATED_CODES[member], message)


def wrong_password() -> EntraError:
    """The user exists, the password is another."""
    message = "Error validating credentials due to invalid username or password."
    return EntraError(400, "invalid_grant", 50126, message)


def unknown_user(tenant: str) -> EntraError:
    """No user has this name in the tenant."""
    message = f"The user account {{EUII Hidden}} does not exist in the {tenant} directory."
    return EntraError(400, "invalid_grant", 50034, message)


def missing_parameter(name: str) -> EntraError:
    """The form lacks a parameter."""
    message = f"The request body must contain the following parameter: '{name}'."
    return EntraError(400, "invalid_request", 900144, message)


def unsupported_grant(grant_type: str) -> EntraError:
    """The grant type is not offered."""
    message = f"The app requested an unsupported grant type '{grant_type}'."
    return EntraError(400, "unsupported_grant_type", 70003, message)


def invalid_scope(scope: str) -> EntraError:
    """The scope names no resource."""
    message = f"The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid."
    return EntraError(400, "invalid_scope", 70011, message)


def scope_without_default(scope: str) -> EntraError:
    """An application asked for a single permission; it gets all of its own or none."""
    message = (
        f"The provided value for scope {scope} is not valid. Client credential flows must have a scope value with"
        " /.default suffixed to the resource identifier (application ID URI)."
    )
    return EntraError(400, "invalid_scope", 1002012, message)


def unknown_resource(resource: str, tenant: str) -> EntraError:
    """No resource of this name is registered in the tenant."""
    message = (
        f"The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the"
        " application has not been installed by the administrator of the tenant or consented to by any user in the"
        " tenant. You might have sent your authentication request to the wrong tenant."
    )
    return EntraError(400, "invalid_resource", 500011, message)
