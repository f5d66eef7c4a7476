"""What is being done at the moment: one request, one timer tick or one queue message. Log lines carry it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from core import correlation


@dataclass(frozen=True, slots=True)
class Work:
    """The operation by its function's name, and the account where it is about one."""

    operation: str
    account: str | None = None


_CURRENT: ContextVar[Work | None] = ContextVar("work", default=None)


@contextmanager
def working(work: Work, correlation_id: str) -> Iterator[None]:
    """Make `work` and its correlation id current for this context and for the tasks started in it."""
    id_token = correlation.current.set(correlation_id)
    work_token = _CURRENT.set(work)
    try:
        yield
    finally:
        _CURRENT.reset(work_token)
        correlation.current.reset(id_token)


def dimensions() -> dict[str, str]:
    """Return what every log line says of the work at hand; empty outside of any."""
    work = _CURRENT.get()
    found = {
        "correlation_id": correlation.current.get(),
        "operation": work.operation if work else "",
        "account": (work.account if work else None) or "",
    }
    return {name: value for name, value in found.items() if value}
