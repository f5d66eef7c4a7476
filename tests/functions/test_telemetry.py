"""Spans: one per request and per tick, named for the operation, in the caller's trace, without any exception's text."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from core.wiring import App
from functions import pipeline, triggers
from functions.pipeline import Pipeline
from tests.builders.http import AccountStage

SECRET = "s3cret-in-an-exception"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for module in (pipeline, triggers):
        monkeypatch.setattr(module, "_tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exporter.get_finished_spans()
    return span


async def test_a_request_is_a_span_in_the_callers_trace(stage: AccountStage, exporter: InMemorySpanExporter) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-correlation-id": "build-4711"}
    await stage.api.send("GET", stage.path("keys"), headers=headers)
    span = only(exporter)
    assert (span.name, f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == ("list_keys", TRACE, PARENT)
    assert span.attributes is not None
    assert span.attributes["http.route"] == "v1/accounts/{account}/keys"
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["keysteward.correlation_id"] == "build-4711"


@pytest.mark.parametrize("traceparent", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", "00-" + "f" * 500])
async def test_a_malformed_trace_context_is_none(
    stage: AccountStage, exporter: InMemorySpanExporter, traceparent: str
) -> None:
    assert (await stage.api.send("GET", "v1/me", headers={"traceparent": traceparent})).status == 200
    assert only(exporter).parent is None


async def test_a_failure_marks_the_span_without_its_text(stage: AccountStage, exporter: InMemorySpanExporter) -> None:
    async def broken() -> App:
        raise RuntimeError(SECRET)

    stage.api._pipeline = Pipeline(broken, platform_authentication=True)
    assert (await stage.api.send("GET", "v1/me")).status == 500
    span = only(exporter)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "internal")
    assert SECRET not in span.to_json()


async def test_a_tick_is_a_span_too(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(triggers.TriggeredWorkError):
        async with triggers.triggered("run_job"):
            raise RuntimeError(SECRET)
    span = only(exporter)
    assert (span.name, span.status.status_code) == ("run_job", StatusCode.ERROR)
    assert SECRET not in span.to_json()
