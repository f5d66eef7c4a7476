"""Why a call to Azure failed: SDK, HTTP and network errors as causes, and causes as errors of `core.errors`.

Invariants: every sentence is our own; an upstream body or message is looked at for codes and then dropped; a 401 or 403
of Azure is `VaultDeniedError`, never the caller's.
"""

import re
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

import aiohttp
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceResponseTimeoutError,
)
from azure.identity import CredentialUnavailableError

from core.domain.connections import ConnectionCause as Cause
from core.errors import KeystewardError, VaultDeniedError, VaultUnavailableError

#: What SDK clients raise when a call fails: their own family, what they let through from below, and ValueError for a
#: challenge of a vault, or a form of credential, that they do not accept.
CALL_ERRORS = (AzureError, aiohttp.ClientError, OSError, ValueError)

DETAILS: Mapping[Cause, str] = MappingProxyType(
    {
        Cause.NAME_NOT_RESOLVED: "The host name cannot be resolved.",
        Cause.UNREACHABLE: "The host cannot be reached, or does not answer in time.",
        Cause.TLS_NOT_TRUSTED: "The server's certificate is not issued by a trusted authority.",
        Cause.TLS_HOST_MISMATCH: "The server's certificate is for another host name.",
        Cause.TLS_CERTIFICATE_EXPIRED: "The server's certificate is expired or not yet valid.",
        Cause.TLS_CLIENT_CERTIFICATE_REFUSED: "The server demands a client certificate, or refuses the one configured.",
        Cause.PROXY_REFUSED: "The proxy cannot be reached, or refuses the connection.",
        Cause.TENANT_UNKNOWN: "The tenant does not exist in this cloud.",
        Cause.APPLICATION_UNKNOWN: "The application (client ID) does not exist in the tenant.",
        Cause.SECRET_WRONG: "The client secret is wrong.",
        Cause.SECRET_EXPIRED: "The client secret is expired.",
        Cause.CREDENTIAL_REFUSED: "Entra ID refuses the credential.",
        Cause.IDENTITY_UNAVAILABLE: "The managed identity is not available to this app.",
        Cause.SUBSCRIPTION_NOT_VISIBLE: "The subscription does not exist, or this identity may not read it.",
        Cause.NO_VAULT: "The subscription holds no vault and no managed HSM that this identity can see.",
        Cause.VAULT_NOT_FOUND: "The vault is not, or no longer, in the subscription.",
        Cause.ACCESS_DENIED: "The identity is known, but lacks the permission for this call.",
        Cause.FIREWALL: "The vault's firewall does not let this app in.",
        Cause.THROTTLED: "Azure answers that there are too many requests.",
        Cause.SERVICE_FAILED: "Azure's service fails, or answers what cannot be used.",
    }
)

_DENIED = frozenset(
    {
        Cause.TENANT_UNKNOWN, Cause.APPLICATION_UNKNOWN, Cause.SECRET_WRONG, Cause.SECRET_EXPIRED,
        Cause.CREDENTIAL_REFUSED, Cause.IDENTITY_UNAVAILABLE, Cause.SUBSCRIPTION_NOT_VISIBLE, Cause.ACCESS_DENIED,
        Cause.FIREWALL,
    }
)  # fmt: skip
_LASTING = frozenset(
    {
        Cause.NAME_NOT_RESOLVED, Cause.TLS_NOT_TRUSTED, Cause.TLS_HOST_MISMATCH, Cause.TLS_CERTIFICATE_EXPIRED,
        Cause.TLS_CLIENT_CERTIFICATE_REFUSED, Cause.PROXY_REFUSED,
    }
)  # fmt: skip

# What aiohttp raises until the connection stands: name, connect, TLS, proxy, and the time for all of it.
_UNSENT = (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, aiohttp.ConnectionTimeoutError)

# Numbers of Entra ID's error texts; any other means that the credential is refused.
_ENTRA_CODES: Mapping[int, Cause] = MappingProxyType(
    {
        90002: Cause.TENANT_UNKNOWN,
        900023: Cause.TENANT_UNKNOWN,
        700016: Cause.APPLICATION_UNKNOWN,
        7000215: Cause.SECRET_WRONG,
        7000222: Cause.SECRET_EXPIRED,
    }
)
_ENTRA_CODE = re.compile(r"AADSTS(\d+)")

# X509_V_ERR_*: not yet valid and expired; host name and IP address mismatch.
_OUT_OF_TIME = frozenset({9, 10})
_MISMATCH = frozenset({62, 64})
_CLIENT_CERTIFICATE_ALERTS = ("CERTIFICATE", "HANDSHAKE_FAILURE", "UNKNOWN_CA", "ACCESS_DENIED")

# A vault's codes for callers from elsewhere: outside its firewall, or not through its private endpoint.
_NETWORK_CODES = frozenset({"ForbiddenByFirewall", "ForbiddenByConnection"})

_UNAUTHORIZED, _FORBIDDEN, _TIMED_OUT, _TOO_MANY, _SERVER_ERRORS = 401, 403, 408, 429, 500


@dataclass(frozen=True, slots=True)
class Failure:
    """A cause; `timed_out` and `retry_after` (seconds) refine it where they are known."""

    cause: Cause
    timed_out: bool = False
    retry_after: float | None = None

    def error(self) -> KeystewardError:
        """Return the error to raise; its code tells the family, its fact `cause` the cause."""
        facts = {"cause": self.cause.value}
        detail = DETAILS[self.cause]
        if self.cause in _DENIED:
            return VaultDeniedError(detail, facts=facts)
        if self.cause is Cause.THROTTLED:
            code = "vault_throttled"
        else:
            code = "vault_timeout" if self.timed_out else "vault_unavailable"
        return VaultUnavailableError(
            detail, code=code, retry_after=timedelta(seconds=self.retry_after or 30), facts=facts
        )


def failure_of(error: BaseException) -> Failure:
    """Return why a call failed, from what the SDK raised."""
    if isinstance(error, CredentialUnavailableError):
        return Failure(Cause.IDENTITY_UNAVAILABLE)
    if isinstance(error, ClientAuthenticationError):
        return Failure(_sign_in_cause(error))
    chain = tuple(_chain(error))
    found = next((cause for cause in map(_network_cause, chain) if cause is not None), None)
    if found is not None:
        return Failure(found)
    timed_out = any(isinstance(cause, ServiceResponseTimeoutError | TimeoutError) for cause in chain)
    if timed_out or isinstance(error, ServiceRequestError | aiohttp.ClientConnectionError | OSError):
        return Failure(Cause.UNREACHABLE, timed_out=timed_out)
    return Failure(Cause.SERVICE_FAILED)


def refusal_of(status: int, inner_code: str | None, retry_after: float | None) -> Failure | None:
    """Return what an HTTP status of a vault or of ARM means, or None where it means no failure of the connection."""
    if status == _UNAUTHORIZED:
        return Failure(Cause.ACCESS_DENIED)
    if status == _FORBIDDEN:
        return Failure(Cause.FIREWALL if inner_code in _NETWORK_CODES else Cause.ACCESS_DENIED)
    if status == _TOO_MANY:
        return Failure(Cause.THROTTLED, retry_after=retry_after)
    if status == _TIMED_OUT or status >= _SERVER_ERRORS:
        return Failure(Cause.SERVICE_FAILED, timed_out=status == _TIMED_OUT, retry_after=retry_after)
    return None


def is_unsent(error: BaseException) -> bool:
    """Whether a request certainly reached no server: no usable connection for it came about."""
    behind = tuple(_chain(error))
    if any(isinstance(cause, _UNSENT) for cause in behind):
        return True
    return not _stood(behind) and failure_of(error).cause in _LASTING


def is_lasting(error: BaseException) -> bool:
    """Whether trying again within seconds is useless."""
    behind = tuple(_chain(error))
    if any(isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN for cause in behind):
        return False
    return not _stood(behind) and failure_of(error).cause in _LASTING


def _stood(behind: Iterable[BaseException]) -> bool:
    """Whether the connection stood already.

    OpenSSL keeps its errors by thread: the alert that ended one connection has been seen to come up on another, which
    was whole. So what a connection that stood says of TLS is no reason to believe that nothing was sent.
    """
    return any(
        isinstance(cause, aiohttp.ClientOSError) and not isinstance(cause, aiohttp.ClientConnectorError)
        for cause in behind
    )


def _sign_in_cause(error: ClientAuthenticationError) -> Cause:
    found = _ENTRA_CODE.search(str(error.message))
    return _ENTRA_CODES.get(int(found[1]), Cause.CREDENTIAL_REFUSED) if found else Cause.CREDENTIAL_REFUSED


def _network_cause(error: BaseException) -> Cause | None:
    if isinstance(error, aiohttp.ClientConnectorDNSError | socket.gaierror):
        return Cause.NAME_NOT_RESOLVED
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return Cause.PROXY_REFUSED
    # aiohttp's own are SSLErrors by type only; what they are about is in the error behind them.
    if isinstance(error, ssl.SSLError) and not isinstance(error, aiohttp.ClientSSLError):
        return _tls_cause(error)
    return None


def _tls_cause(error: ssl.SSLError) -> Cause:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OUT_OF_TIME:
            return Cause.TLS_CERTIFICATE_EXPIRED
        return Cause.TLS_HOST_MISMATCH if error.verify_code in _MISMATCH else Cause.TLS_NOT_TRUSTED
    reason = error.reason or ""
    refused = "ALERT" in reason and any(word in reason for word in _CLIENT_CERTIFICATE_ALERTS)
    return Cause.TLS_CLIENT_CERTIFICATE_REFUSED if refused else Cause.UNREACHABLE


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all that is known to be behind it, each once."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [
            getattr(current, "inner_exception", None),
            getattr(current, "os_error", None),
            getattr(current, "certificate_error", None),
            current.__cause__,
            current.__context__,
        ]
