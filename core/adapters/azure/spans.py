"""A span for every call of a vault: operation, host and outcome. Names of keys are left out."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from core.domain.rate_limits import VaultOperation
from core.errors import KeystewardError

_tracer = trace.get_tracer("keysteward.vault")


@contextmanager
def vault_call(uri: str, operation: VaultOperation) -> Iterator[Span]:
    """Run a call within its span; an error of ours names the outcome by its code."""
    span_name = f"key_vault.{operation.value}"
    attributes = {"server.address": urlsplit(uri).hostname or "", "keysteward.vault.operation": operation.value}
    with _tracer.start_as_current_span(
        span_name, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except KeystewardError as error:
            span.set_attribute("keysteward.outcome", error.code)
            span.set_status(Status(StatusCode.ERROR))
            raise
        span.set_attribute("keysteward.outcome", "ok")
