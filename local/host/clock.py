"""Moves the product's clock from outside, so that the product needs no branch for tests."""

import importlib
from datetime import UTC, datetime, timedelta

_MODULE = "core.adapters.clock"


class NoProductClockError(Exception):
    """The app has no such module."""


def move_product_clock(offset_seconds: float) -> None:
    """Let the product's `SystemClock.now()` return the time of day plus an offset, or raise NoProductClockError."""
    try:
        module = importlib.import_module(_MODULE)
    except ModuleNotFoundError as error:
        raise NoProductClockError(_MODULE) from error
    offset = timedelta(seconds=offset_seconds)

    def now(_clock: object) -> datetime:
        return datetime.now(UTC) + offset

    module.SystemClock.now = now
