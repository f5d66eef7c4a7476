"""What timers and queue triggers share: a correlation id, a span, a log line, and an error that the host sees."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from core import correlation
from functions import logs
from functions.work import Work, working

_log = logging.getLogger(__name__)
_tracer = trace.get_tracer("keysteward")


class TriggeredWorkError(Exception):
    """Triggered work failed. It says only which: the host writes an exception's text to its logs."""


@asynccontextmanager
async def triggered(operation: str, account: str | None = None) -> AsyncIterator[None]:
    """Run one tick or message as `operation`; a failure is logged without its text, and raised as another error."""
    started = perf_counter()
    with (
        working(Work(operation, account), correlation.accepted_or_new(None)),
        _tracer.start_as_current_span(
            operation, kind=SpanKind.CONSUMER, record_exception=False, set_status_on_exception=False
        ) as span,
    ):
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again, without its text
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            logs.event(_log, logging.ERROR, "triggered work failed", **logs.describe(error))
            raise TriggeredWorkError(operation) from None
        duration_ms = round((perf_counter() - started) * 1_000, 2)
        logs.event(_log, logging.INFO, "triggered work done", outcome="ok", duration_ms=duration_ms)
