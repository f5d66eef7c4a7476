"""What the SDKs and the network raise, told apart."""

import socket
import ssl

import aiohttp
import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.identity import CredentialUnavailableError

from core.adapters.azure.failures import DETAILS, Failure, failure_of, is_lasting, is_unsent, refusal_of
from core.domain.connections import ConnectionCause as Cause
from core.errors import VaultDeniedError, VaultUnavailableError

KEY = aiohttp.client_reqrep.ConnectionKey("host.example", 443, True, True, None, None, None)


def verification(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


def wrapped(inner: Exception) -> ServiceRequestError:
    return ServiceRequestError(inner, error=inner)


def entra(code: int) -> ClientAuthenticationError:
    return ClientAuthenticationError(message=f"Microsoft Entra ID error '(invalid_client) AADSTS{code}: secret text'")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (wrapped(aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "unknown"))), Cause.NAME_NOT_RESOLVED),
        (wrapped(aiohttp.ClientConnectorError(KEY, ConnectionRefusedError())), Cause.UNREACHABLE),
        (wrapped(aiohttp.ServerDisconnectedError()), Cause.UNREACHABLE),
        (ServiceRequestTimeoutError("slow"), Cause.UNREACHABLE),
        (ServiceResponseTimeoutError("slow"), Cause.UNREACHABLE),
        (TimeoutError(), Cause.UNREACHABLE),
        (wrapped(aiohttp.ClientConnectorCertificateError(KEY, verification(20))), Cause.TLS_NOT_TRUSTED),
        (wrapped(aiohttp.ClientConnectorCertificateError(KEY, verification(62))), Cause.TLS_HOST_MISMATCH),
        (wrapped(aiohttp.ClientConnectorCertificateError(KEY, verification(10))), Cause.TLS_CERTIFICATE_EXPIRED),
        (wrapped(aiohttp.ClientConnectorCertificateError(KEY, verification(9))), Cause.TLS_CERTIFICATE_EXPIRED),
        (alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), Cause.TLS_CLIENT_CERTIFICATE_REFUSED),
        (alert("TLSV1_ALERT_UNKNOWN_CA"), Cause.TLS_CLIENT_CERTIFICATE_REFUSED),
        (alert("WRONG_VERSION_NUMBER"), Cause.UNREACHABLE),
        (wrapped(aiohttp.ClientProxyConnectionError(KEY, ConnectionRefusedError())), Cause.PROXY_REFUSED),
        (entra(90002), Cause.TENANT_UNKNOWN),
        (entra(700016), Cause.APPLICATION_UNKNOWN),
        (entra(7000215), Cause.SECRET_WRONG),
        (entra(7000222), Cause.SECRET_EXPIRED),
        (entra(700027), Cause.CREDENTIAL_REFUSED),
        (ClientAuthenticationError(message="no code"), Cause.CREDENTIAL_REFUSED),
        (CredentialUnavailableError(message="no endpoint"), Cause.IDENTITY_UNAVAILABLE),
        (ServiceResponseError("garbled"), Cause.SERVICE_FAILED),
        (HttpResponseError("odd"), Cause.SERVICE_FAILED),
        (AzureError("odd"), Cause.SERVICE_FAILED),
        (ValueError("a challenge of another domain"), Cause.SERVICE_FAILED),
    ],
)
def test_every_error_has_its_cause(error: Exception, cause: Cause) -> None:
    assert failure_of(error).cause is cause


def test_a_cause_is_found_behind_other_errors() -> None:
    outer = AzureError("outer")
    outer.__cause__ = RuntimeError("between")
    outer.__cause__.__context__ = verification(10)
    assert failure_of(outer).cause is Cause.TLS_CERTIFICATE_EXPIRED


def test_errors_that_refer_to_each_other_end() -> None:
    one, two = AzureError("one"), AzureError("two")
    one.__cause__, two.__cause__ = two, one
    assert failure_of(one).cause is Cause.SERVICE_FAILED


@pytest.mark.parametrize(
    ("status", "inner", "cause"),
    [
        (401, None, Cause.ACCESS_DENIED),
        (403, "ForbiddenByRbac", Cause.ACCESS_DENIED),
        (403, None, Cause.ACCESS_DENIED),
        (403, "ForbiddenByFirewall", Cause.FIREWALL),
        (403, "ForbiddenByConnection", Cause.FIREWALL),
        (408, None, Cause.SERVICE_FAILED),
        (429, None, Cause.THROTTLED),
        (500, None, Cause.SERVICE_FAILED),
        (503, None, Cause.SERVICE_FAILED),
    ],
)
def test_every_refusal_has_its_cause(status: int, inner: str | None, cause: Cause) -> None:
    failure = refusal_of(status, inner, None)
    assert failure is not None
    assert failure.cause is cause


@pytest.mark.parametrize("status", [200, 204, 400, 404, 409])
def test_other_statuses_are_for_the_caller_to_judge(status: int) -> None:
    assert refusal_of(status, None, None) is None


@pytest.mark.parametrize(
    ("failure", "family", "code"),
    [
        (Failure(Cause.ACCESS_DENIED), VaultDeniedError, "vault_denied"),
        (Failure(Cause.SECRET_EXPIRED), VaultDeniedError, "vault_denied"),
        (Failure(Cause.FIREWALL), VaultDeniedError, "vault_denied"),
        (Failure(Cause.THROTTLED), VaultUnavailableError, "vault_throttled"),
        (Failure(Cause.UNREACHABLE), VaultUnavailableError, "vault_unavailable"),
        (Failure(Cause.UNREACHABLE, timed_out=True), VaultUnavailableError, "vault_timeout"),
        (Failure(Cause.TLS_NOT_TRUSTED), VaultUnavailableError, "vault_unavailable"),
    ],
)
def test_a_cause_becomes_an_error_of_its_family(failure: Failure, family: type, code: str) -> None:
    error = failure.error()
    assert isinstance(error, family)
    assert (error.code, error.facts["cause"]) == (code, failure.cause.value)


def test_retry_after_is_passed_on() -> None:
    error = Failure(Cause.THROTTLED, retry_after=7.0).error()
    assert isinstance(error, VaultUnavailableError)
    assert error.retry_after.total_seconds() == 7.0


def test_errors_repeat_nothing_from_upstream() -> None:
    assert "secret text" not in str(failure_of(entra(7000215)).error())


def test_every_cause_has_a_sentence() -> None:
    assert set(DETAILS) == set(Cause)


def on_a_connection(error: Exception) -> Exception:
    """Return what comes of an error on a connection that stood."""
    cut = aiohttp.ClientOSError(1, "cut")
    cut.__cause__ = error
    return wrapped(cut)


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (wrapped(aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_NONAME, "unknown"))), True),
        (wrapped(aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_AGAIN, "later"))), False),
        (wrapped(aiohttp.ClientConnectorCertificateError(KEY, verification(20))), True),
        (wrapped(aiohttp.ServerDisconnectedError()), False),
        (alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), True),
        (on_a_connection(alert("TLSV13_ALERT_CERTIFICATE_REQUIRED")), False),
        (ServiceResponseTimeoutError("slow"), False),
    ],
)
def test_only_what_can_heal_is_tried_again(error: Exception, lasting: bool) -> None:
    assert is_lasting(error) is lasting


@pytest.mark.parametrize(
    ("error", "unsent"),
    [
        (wrapped(aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_AGAIN, "later"))), True),
        (wrapped(aiohttp.ClientConnectorError(KEY, ConnectionRefusedError())), True),
        (wrapped(aiohttp.ClientConnectorCertificateError(KEY, verification(20))), True),
        (wrapped(aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "handshake"))), True),
        (wrapped(aiohttp.ClientProxyConnectionError(KEY, ConnectionRefusedError())), True),
        (wrapped(aiohttp.ConnectionTimeoutError("slow")), True),
        (on_a_connection(alert("TLSV13_ALERT_CERTIFICATE_REQUIRED")), False),
        (alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), True),
        (wrapped(aiohttp.ServerDisconnectedError()), False),
        (wrapped(aiohttp.ClientOSError(104, "reset")), False),
        (wrapped(aiohttp.ClientPayloadError("short")), False),
        (wrapped(aiohttp.SocketTimeoutError("silence")), False),
        (ServiceResponseTimeoutError("silence"), False),
        (alert("APPLICATION_DATA_AFTER_CLOSE_NOTIFY"), False),
        (ValueError("unreadable"), False),
    ],
)
def test_only_without_a_connection_is_a_request_unsent(error: Exception, unsent: bool) -> None:
    assert is_unsent(error) is unsent
