"""The emulator as the Azure that the adapters talk to."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from core.adapters.azure.credentials import AppIdentity
from core.adapters.azure.vaults import AzureVaults
from core.adapters.clock import SystemClock
from local.emulator.client import ControlClient, Endpoints
from tests.builders.azure import Application, AzureWorld
from tests.emulator.conftest import start_process


@pytest.fixture(scope="session")
def azure_endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    running = start_process(tmp_path_factory.mktemp("azure"), "--ephemeral")
    yield running.endpoints
    assert running.stop() == 0


@pytest.fixture
async def azure(azure_endpoints: Endpoints) -> AsyncIterator[AzureWorld]:
    async with aiohttp.ClientSession() as session:
        control = ControlClient(azure_endpoints.control_url, session)
        await control.delete("counters")
        yield AzureWorld(azure_endpoints, control)
        await control.delete("faults")
        await control.put("latency", {})


@pytest.fixture
async def application(azure: AzureWorld) -> Application:
    return await azure.application()


@pytest.fixture
async def vaults() -> AsyncIterator[AzureVaults]:
    opened = AzureVaults(SystemClock(), AppIdentity())
    yield opened
    await opened.close()
