"""The network side of a connection: one HTTP session with its TLS settings and proxy, for every client of it.

Invariants: a custom CA replaces the system's; the host is always checked unless a custom CA is given and the check was
switched off; a client certificate's key touches no disk; neither the environment's proxies nor `.netrc` are consulted;
a request goes out as often as it is asked for: repeating it is decided by `retries` alone, which paces and counts.
"""

import os
import ssl

import aiohttp
from azure.core.pipeline.transport import AioHttpTransport
from yarl import URL

from core.domain.connections import OpenConnection
from core.domain.secrets import SecretText

CONNECT_SECONDS = 5
READ_SECONDS = 30
_CONNECTIONS = 100


class CutConnectionError(aiohttp.ClientConnectionError):
    """A connection broke while a request was on it: the server may have done what was asked, or not."""


def open_session(connection: OpenConnection) -> aiohttp.ClientSession:
    """Open the session that all calls of a connection share; ssl.SSLError if a certificate cannot be used."""
    return _session(tls_context(connection), proxy_url(connection))


def open_direct_session() -> aiohttp.ClientSession:
    """Open a session for the platform's own identity endpoint, which no connection's TLS or proxy settings concern."""
    return _session(ssl.create_default_context(), None)


def transport(session: aiohttp.ClientSession) -> AioHttpTransport:
    """Return an SDK transport on a shared session, which it never closes."""
    return AioHttpTransport(
        session=session,
        session_owner=False,
        use_env_settings=False,
        connection_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
    )


def tls_context(connection: OpenConnection) -> ssl.SSLContext:
    """Return how servers' certificates are checked, and which one is shown to them."""
    tls = connection.connection.tls
    context = ssl.create_default_context(cadata=tls.custom_ca)
    if tls.custom_ca is not None and not tls.validate_host:
        context.check_hostname = False
    if connection.client_certificate is not None:
        _load_client_certificate(context, connection.client_certificate)
    return context


def proxy_url(connection: OpenConnection) -> URL | None:
    """Return the proxy with its credentials, as aiohttp takes them."""
    proxy = connection.connection.proxy
    if proxy is None:
        return None
    url = URL(proxy.url)
    if proxy.username is not None:
        url = url.with_user(proxy.username)
        url = url.with_password(connection.proxy_password.reveal() if connection.proxy_password else "")
    return url


def _session(context: ssl.SSLContext, proxy: URL | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=_CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        proxy=proxy,
        middlewares=(_sent_as_asked,),
    )


async def _sent_as_asked(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating by itself: it sends a PUT or DELETE again when it finds the connection broken.

    It does so for the two errors below, whatever was sent before (RFC 9112, 9.3.1, leaves that to the sender). An
    import is a PUT and makes a version each time.
    """
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise CutConnectionError(type(error).__name__) from error


def _load_client_certificate(context: ssl.SSLContext, pem: SecretText) -> None:
    # OpenSSL loads from a path only; an anonymous file in memory has one under /proc.
    with os.fdopen(os.memfd_create("client-certificate", os.MFD_CLOEXEC), "wb") as file:
        file.write(pem.encode().reveal())
        file.flush()
        # The empty password keeps OpenSSL from asking for one on a terminal.
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")
