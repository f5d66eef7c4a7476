"""TLS and proxy settings on every call of a connection: sign-in, management and vault."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from core.adapters.azure.transports import CutConnectionError, open_session, proxy_url, tls_context
from core.adapters.azure.vaults import AzureVaults
from core.domain.connections import ConnectionCause, ConnectionStage, OpenConnection, Proxy, TlsSettings, VaultFacts
from core.domain.secrets import SecretText
from tests.builders.azure import Application, AzureWorld, an_identity
from tests.fakes.tls import demanding_server

TLS_CAUSES = [
    ("untrusted_ca", ConnectionCause.TLS_NOT_TRUSTED),
    ("wrong_host", ConnectionCause.TLS_HOST_MISMATCH),
    ("expired", ConnectionCause.TLS_CERTIFICATE_EXPIRED),
]


async def listener(azure: AzureWorld, kind: str, target: str | None = None, **members: str) -> dict[str, Any]:
    return dict(await azure.control.post("listeners", {"kind": kind, "target": target, **members}))


def changed(connection: OpenConnection, **members: Any) -> OpenConnection:
    return replace(connection, connection=replace(connection.connection, **members))


@pytest.mark.parametrize(("kind", "cause"), TLS_CAUSES)
async def test_bad_tls_at_sign_in(
    azure: AzureWorld, application: Application, vaults: AzureVaults, kind: str, cause: ConnectionCause
) -> None:
    url = (await listener(azure, kind, "entra"))["url"]
    report = await vaults.test(azure.connection(application, cloud=azure.cloud(authority=url)), None)
    assert (report.cause, report.stage) == (cause, ConnectionStage.SIGN_IN)


@pytest.mark.parametrize(("kind", "cause"), TLS_CAUSES)
async def test_bad_tls_at_management(
    azure: AzureWorld, application: Application, vaults: AzureVaults, kind: str, cause: ConnectionCause
) -> None:
    url = (await listener(azure, kind, "arm"))["url"]
    report = await vaults.test(azure.connection(application, cloud=azure.cloud(resource_manager=url)), None)
    assert (report.cause, report.stage) == (cause, ConnectionStage.MANAGEMENT)


@pytest.mark.parametrize("shown", [False, True])
async def test_a_server_that_refuses_the_client_certificate(
    azure: AzureWorld, application: Application, vaults: AzureVaults, shown: bool
) -> None:
    # The emulator's listener (asyncio) cuts the connection without TLS's alert; OpenSSL's own server sends it.
    with demanding_server() as (url, ca):
        connection = azure.connection(application, cloud=azure.cloud(authority=url), tls=TlsSettings(custom_ca=ca))
        if shown:
            connection = replace(connection, client_certificate=SecretText(an_identity()[0]))
        report = await vaults.test(connection, None)
    assert (report.cause, report.stage) == (
        ConnectionCause.TLS_CLIENT_CERTIFICATE_REFUSED,
        ConnectionStage.SIGN_IN,
    )


async def test_without_the_custom_ca_the_systems_cas_count(
    azure: AzureWorld, application: Application, vaults: AzureVaults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    report = await vaults.test(azure.connection(application, tls=TlsSettings()), None)
    assert report.cause is ConnectionCause.TLS_NOT_TRUSTED


async def test_a_custom_ca_replaces_the_systems(
    azure: AzureWorld, application: Application, vaults: AzureVaults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", azure.endpoints.ca_file)
    other = an_identity()[0].partition("-----BEGIN PRIVATE")[0]
    assert (await vaults.test(azure.connection(application, tls=TlsSettings()), None)).connected
    report = await vaults.test(azure.connection(application, tls=TlsSettings(custom_ca=other)), None)
    assert report.cause is ConnectionCause.TLS_NOT_TRUSTED


async def test_host_validation_can_be_off_beside_a_custom_ca(
    azure: AzureWorld, application: Application, vaults: AzureVaults
) -> None:
    entra, arm = [(await listener(azure, "wrong_host", target))["url"] for target in ("entra", "arm")]
    connection = azure.connection(
        application,
        cloud=azure.cloud(authority=entra, resource_manager=arm),
        tls=TlsSettings(custom_ca=azure.ca, validate_host=False),
    )
    report = await vaults.test(connection, None)
    assert report.connected, report.detail
    untrusted = (await listener(azure, "untrusted_ca", "entra"))["url"]
    report = await vaults.test(changed(connection, cloud=azure.cloud(authority=untrusted)), None)
    assert report.cause is ConnectionCause.TLS_NOT_TRUSTED


async def test_host_validation_stays_on_without_a_custom_ca(azure: AzureWorld, application: Application) -> None:
    connection = azure.connection(application, tls=TlsSettings(validate_host=False))
    assert tls_context(connection).check_hostname


async def test_a_client_certificate_is_shown_to_every_service(
    azure: AzureWorld, application: Application, vaults: AzureVaults
) -> None:
    vault = await azure.vault(application)
    made = [await listener(azure, "client_certificate", target) for target in ("entra", "arm", vault.name)]
    pem = made[0]["client_certificate_pem"] + made[0]["client_key_pem"]
    cloud = azure.cloud(authority=made[0]["url"], resource_manager=made[1]["url"])
    connection = replace(azure.connection(application, cloud=cloud), client_certificate=SecretText(pem))
    assert (await vaults.test(connection, None)).connected
    async with vaults.keys("grp_c", connection, at(vault, made[2]["url"])) as keys:
        assert [page.keys async for page in keys.list_keys()] == [()]


async def test_a_client_certificates_key_touches_no_disk(
    azure: AzureWorld, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real_open = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest, **more: opened.append(path) or real_open(path, *rest, **more))
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - file descriptors, not files
    connection = replace(azure.connection(application), client_certificate=SecretText(an_identity()[0]))
    tls_context(connection)
    assert opened == []
    assert set(os.listdir("/proc/self/fd")) <= before | {str(len(before))}  # noqa: PTH208 - as above


async def test_an_encrypted_key_asks_nobody_for_a_password(
    azure: AzureWorld, application: Application, vaults: AzureVaults
) -> None:
    pem, _ = an_identity(password=b"unknown")
    connection = replace(azure.connection(application), client_certificate=SecretText(pem))
    report = await vaults.test(connection, None)
    assert not report.connected


async def test_every_call_goes_through_the_proxy(
    azure: AzureWorld, application: Application, vaults: AzureVaults
) -> None:
    vault = await azure.vault(application)
    proxy = await listener(azure, "proxy", username="user", password="pa:ss@word/%")
    connection = azure.connection(application, proxy=Proxy(proxy["url"], "user"))
    connection = replace(connection, proxy_password=SecretText("pa:ss@word/%"))
    report = await vaults.test(connection, vault)
    assert report.connected, report.detail
    tunnelled = await azure.requests("proxy")
    for url in (azure.endpoints.entra_url, azure.endpoints.arm_url, vault.uri):
        assert f"CONNECT {url.removeprefix('https://')}" in tunnelled


@pytest.mark.parametrize("password", [None, "wrong"])
async def test_a_proxy_that_refuses(
    azure: AzureWorld, application: Application, vaults: AzureVaults, password: str | None
) -> None:
    proxy = await listener(azure, "proxy", username="user", password="right")
    connection = azure.connection(application, proxy=Proxy(proxy["url"], "user" if password else None))
    connection = replace(connection, proxy_password=SecretText(password) if password else None)
    report = await vaults.test(connection, None)
    assert (report.cause, report.stage) == (ConnectionCause.PROXY_REFUSED, ConnectionStage.SIGN_IN)


async def test_a_proxy_that_is_not_there(azure: AzureWorld, application: Application, vaults: AzureVaults) -> None:
    report = await vaults.test(azure.connection(application, proxy=Proxy("http://localhost:1")), None)
    assert report.cause is ConnectionCause.PROXY_REFUSED


async def test_tls_is_checked_through_a_proxy_too(
    azure: AzureWorld, application: Application, vaults: AzureVaults
) -> None:
    proxy = (await listener(azure, "proxy"))["url"]
    entra = (await listener(azure, "wrong_host", "entra"))["url"]
    connection = azure.connection(application, cloud=azure.cloud(authority=entra), proxy=Proxy(proxy))
    assert (await vaults.test(connection, None)).cause is ConnectionCause.TLS_HOST_MISMATCH


async def test_the_environments_proxy_is_not_used(
    azure: AzureWorld, application: Application, vaults: AzureVaults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://localhost:1")
    monkeypatch.setenv("https_proxy", "http://localhost:1")
    assert (await vaults.test(azure.connection(application), None)).connected


def test_a_password_with_any_characters_survives_the_proxys_url(azure: AzureWorld, application: Application) -> None:
    connection = azure.connection(application, proxy=Proxy("http://proxy.example:3128", "me"))
    url = proxy_url(replace(connection, proxy_password=SecretText("a:b@c/d?e#f%41é")))
    assert url is not None
    assert (url.user, url.password, url.host, url.port) == ("me", "a:b@c/d?e#f%41é", "proxy.example", 3128)


class CuttingServer:
    """Answers the first request of a connection, and cuts every connection at its next one, having read it."""

    def __init__(self) -> None:
        self.requests: list[str] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"Content-Length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            self.requests.append(head.split()[0])
            if len(self.requests) > 1:
                break
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "PATCH"])
async def test_a_session_sends_what_is_asked_for_once(azure: AzureWorld, application: Application, method: str) -> None:
    server = CuttingServer()
    async with server.running() as url, open_session(azure.connection(application)) as session:
        await session.get(url)
        with pytest.raises(CutConnectionError) as caught:
            await session.request(method, url, data=b"body")
    assert server.requests == ["GET", method]
    assert caught.value.__cause__ is not None


async def test_aiohttp_by_itself_repeats_on_a_cut_connection() -> None:
    # Should this fail, the sessions' middleware may have become needless; look at what aiohttp does instead.
    server = CuttingServer()
    async with server.running() as url, aiohttp.ClientSession() as session:
        await session.get(url)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.put(url, data=b"body")
    assert server.requests == ["GET", "PUT", "PUT"]


async def test_a_connection_that_never_stood_is_told_from_one_that_broke(
    azure: AzureWorld, application: Application
) -> None:
    async with open_session(azure.connection(application)) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.put("http://127.0.0.1:1/", data=b"body")


def at(vault: VaultFacts, uri: str) -> VaultFacts:
    return replace(vault, uri=uri)
