"""Extra listeners: bad TLS of each kind, client certificates, and the proxy."""

import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from local.emulator import seeds
from local.emulator.client import ControlClient, Endpoints

DISCOVERY = f"/{seeds.CONTOSO_TENANT_ID}/v2.0/.well-known/openid-configuration"


async def fetch(url: str, trust: ssl.SSLContext, **options: Any) -> int:
    connector = aiohttp.TCPConnector(ssl=trust)
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url, **options) as response:
        await response.read()
        return response.status


@pytest.fixture
def trust(emulator: Endpoints) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=emulator.ca_file)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("untrusted_ca", "unable to get local issuer certificate|self-signed certificate"),
        ("wrong_host", "Hostname mismatch"),
        ("expired", "certificate has expired"),
    ],
)
async def test_bad_certificates_are_told_apart(
    control: ControlClient, trust: ssl.SSLContext, kind: str, reason: str
) -> None:
    listener = await control.post("listeners", {"kind": kind, "target": "entra"})
    with pytest.raises(aiohttp.ClientConnectorCertificateError, match=reason):
        await fetch(listener["url"] + DISCOVERY, trust)
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    assert await fetch(listener["url"] + DISCOVERY, unverified) == 200
    await control.delete(f"listeners/{listener['id']}")
    with pytest.raises(aiohttp.ClientConnectorError):
        await fetch(listener["url"] + DISCOVERY, unverified)


@pytest.mark.parametrize(("target", "status"), [("entra", 404), ("arm", 404), (seeds.PLATFORM_VAULT, 401)])
async def test_a_client_certificate_is_demanded(
    control: ControlClient, trust: ssl.SSLContext, tmp_path: Path, target: str, status: int
) -> None:
    listener = await control.post("listeners", {"kind": "client_certificate", "target": target})
    with pytest.raises(aiohttp.ClientError):
        await fetch(listener["url"], trust)
    (tmp_path / "client.pem").write_text(listener["client_certificate_pem"])
    (tmp_path / "client.key").write_text(listener["client_key_pem"])
    trust.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
    assert await fetch(listener["url"], trust) == status


@pytest.mark.usefixtures("fresh_conditions")
async def test_the_proxy_tunnels_and_counts(control: ControlClient, emulator: Endpoints, trust: ssl.SSLContext) -> None:
    proxy = await control.post("listeners", {"kind": "proxy"})
    assert await fetch(emulator.entra_url + DISCOVERY, trust, proxy=proxy["url"]) == 200
    with pytest.raises(aiohttp.ClientHttpProxyError) as refused:
        await fetch("https://elsewhere.example", trust, proxy=proxy["url"])
    assert refused.value.status == 403
    rows = (await control.get("counters"))["requests"]
    tunnels = {(row["operation"], row["status"]) for row in rows if row["service"] == "proxy"}
    reached = emulator.entra_url.removeprefix("https://")
    assert tunnels == {(f"CONNECT {reached}", 200), ("CONNECT elsewhere.example:443", 403)}


async def test_the_proxy_can_demand_a_password(
    control: ControlClient, emulator: Endpoints, trust: ssl.SSLContext
) -> None:
    proxy = await control.post("listeners", {"kind": "proxy", "username": "someone", "password": "word"})
    url = emulator.entra_url + DISCOVERY
    with pytest.raises(aiohttp.ClientHttpProxyError) as refused:
        await fetch(url, trust, proxy=proxy["url"])
    assert refused.value.status == 407
    headers = {"Proxy-Authorization": aiohttp.encode_basic_auth("someone", "word")}
    assert await fetch(url, trust, proxy=proxy["url"], proxy_headers=headers) == 200
    await control.delete(f"listeners/{proxy['id']}")
    with pytest.raises(aiohttp.ClientProxyConnectionError):
        await fetch(url, trust, proxy=proxy["url"], proxy_headers=headers)
