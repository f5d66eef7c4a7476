"""The emulator as a real process over TLS, and clients of it."""

import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from local.emulator.client import ControlClient, Endpoints, read_endpoints

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0


@dataclass
class EmulatorProcess:
    """One run of the emulator."""

    process: subprocess.Popen[bytes]
    folder: Path
    endpoints: Endpoints
    log_file: Path

    def stop(self) -> int:
        """Ask it to stop and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


def start_process(folder: Path, *flags: str) -> EmulatorProcess:
    """Start the emulator on a data folder and wait until it is ready."""
    folder.mkdir(parents=True, exist_ok=True)
    log_file = folder / "emulator.log"
    command = [sys.executable, "-m", "local.emulator", "--data-dir", str(folder), *flags]
    with log_file.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT
        )
    deadline = time.monotonic() + START_SECONDS
    while (endpoints := read_endpoints(folder)) is None or endpoints.pid != process.pid:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            pytest.fail(f"the emulator did not start: {log_file.read_text()}")
        time.sleep(0.02)
    return EmulatorProcess(process, folder, endpoints, log_file)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """Return the endpoints of an emulator that all tests share."""
    running = start_process(tmp_path_factory.mktemp("emulator"), "--ephemeral")
    yield running.endpoints
    assert running.stop() == 0


@pytest.fixture
def start_emulator() -> Iterator[Callable[..., EmulatorProcess]]:
    """Return a function that starts an emulator of the test's own; all are stopped in the end."""
    started: list[EmulatorProcess] = []

    def start(folder: Path, *flags: str) -> EmulatorProcess:
        started.append(start_process(folder, *flags))
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture(scope="session")
async def https(emulator: Endpoints) -> AsyncIterator[aiohttp.ClientSession]:
    """Return an HTTP session that trusts the emulator's CA."""
    trust = ssl.create_default_context(cafile=emulator.ca_file)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
        yield session


@pytest.fixture(scope="session")
def control(emulator: Endpoints, https: aiohttp.ClientSession) -> ControlClient:
    """Return a client of the control API."""
    return ControlClient(emulator.control_url, https)


@pytest.fixture
def token_of(emulator: Endpoints, https: aiohttp.ClientSession) -> Callable[..., Awaitable[str]]:
    """Return a function that gets an access token for an application made through the control API."""

    async def get(application: dict[str, str], resource: str) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": application["client_id"],
            "client_secret": application["secret"],
            "scope": f"{resource}/.default",
        }
        url = f"{emulator.entra_url}/{application['tenant_id']}/oauth2/v2.0/token"
        async with https.post(url, data=form) as response:
            assert response.status == 200, await response.text()
            return str((await response.json())["access_token"])

    return get


@pytest.fixture
def certificate_and_key() -> Callable[..., tuple[str, bytes]]:
    """Return a function that makes a self-signed certificate: it in PEM, and it with its key as credentials take it."""

    def make(days: int) -> tuple[str, bytes]:
        key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a client")])
        end = datetime.now(UTC) + timedelta(days=days)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(end - timedelta(days=30)).not_valid_after(end)
        pem = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
        return pem.decode(), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + pem

    return make


@pytest.fixture
async def fresh_conditions(control: ControlClient) -> AsyncIterator[None]:
    """Take back faults, latency, clocks and counters after the test."""
    await control.delete("counters")
    yield
    await control.delete("faults")
    await control.put("latency", {})
    await control.put("clock", {"offset_seconds": 0, "token_offset_seconds": 0})


@pytest.fixture
def managed_identity_environment(emulator: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment of App Service's managed identity and of nothing else of Azure's."""
    for name in [name for name in os.environ if name.startswith(("AZURE_", "IDENTITY_", "MSI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("IDENTITY_ENDPOINT", emulator.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", emulator.identity_header)
