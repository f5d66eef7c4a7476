"""The span of a vault call."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from core.adapters.azure import spans
from core.adapters.azure.vaults import AzureVaults
from core.errors import NotFoundError
from tests.builders.azure import Application, AzureWorld


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(spans, "_tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


async def test_a_call_is_a_span_with_host_operation_and_outcome_but_no_key_name(
    azure: AzureWorld, application: Application, vaults: AzureVaults, exported: InMemorySpanExporter
) -> None:
    vault = await azure.vault(application)
    await azure.seed(vault, {"name": "named-key"})
    async with vaults.keys("grp_s", azure.connection(application), vault) as keys:
        await keys.get_version("named-key", None)
        with pytest.raises(NotFoundError):
            await keys.back_up("unnamed-key")
    good, bad = exported.get_finished_spans()
    assert (good.name, bad.name) == ("key_vault.get", "key_vault.backup")
    assert dict(good.attributes or {}) == {
        "server.address": "localhost",
        "keysteward.vault.operation": "get",
        "keysteward.outcome": "ok",
    }
    assert (bad.attributes or {})["keysteward.outcome"] == "key_not_found"
    assert (good.status.status_code, bad.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)
    assert all("named-key" not in span.to_json() for span in (good, bad))
