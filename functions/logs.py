"""Structured log lines: one JSON object each, with correlation id, operation and account.

Invariants: of an exception only types and places are written, never its text, which may quote input or an upstream
answer; the SDKs are silent, because their warnings quote upstream answers and adapters say in our words what counts.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

from functions.work import dimensions

_OWN = ("core", "functions")
_SDK_LEVELS = {"azure": logging.CRITICAL, "azure.monitor": logging.WARNING}
# The attributes of every LogRecord; whatever else a record has came by `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure() -> None:
    """Make this process write JSON lines: through the worker's handlers, or to stderr where there are none."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler(sys.stderr))
    formatter = JsonFormatter()
    for handler in root.handlers:
        handler.setFormatter(formatter)
        handler.addFilter(_CONTEXT_FILTER)
    for name in _OWN:
        logging.getLogger(name).setLevel(logging.INFO)
    for name, level in _SDK_LEVELS.items():
        logging.getLogger(name).setLevel(level)


def event(logger: logging.Logger, level: int, name: str, **fields: object) -> None:
    """Log the event `name` with `fields`; they become members of the line, and dimensions in Application Insights."""
    logger.log(level, name, extra=fields)


class JsonFormatter(logging.Formatter):
    """Renders a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
        }
        line.update({name: value for name, value in vars(record).items() if name not in _STANDARD})
        # Libraries put False there, too.
        if record.exc_info and record.exc_info[1] is not None:
            line.update(describe(record.exc_info[1]))
        return json.dumps(line, default=str)


def describe(error: BaseException) -> dict[str, object]:
    """Return the types of an exception and of its causes, and the frames of its traceback, without any text of them."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    types: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        types.append(type(cause).__qualname__)
        cause = cause.__cause__ or cause.__context__
    return {"exception": types, "traceback": frames}


class _Context(logging.Filter):
    """Stamps the work at hand on every record that has not got it; as attributes, so that telemetry has them too."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in dimensions().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


_CONTEXT_FILTER = _Context()
