"""Log lines: JSON, with the work at hand, without any exception's text."""

import io
import json
import logging
import sys

import pytest

from functions import logs
from functions.work import Work, working

SECRET = "s3cret-in-an-exception"


def a_line(record: logging.LogRecord) -> dict[str, object]:
    line = json.loads(logs.JsonFormatter().format(record))
    assert isinstance(line, dict)
    return line


def test_a_line_is_json_with_its_fields() -> None:
    record = logging.makeLogRecord(
        {"name": "core.x", "levelname": "INFO", "msg": "%s done", "args": ("it",), "job": "j"}
    )
    line = a_line(record)
    assert (line["event"], line["logger"], line["level"], line["job"]) == ("it done", "core.x", "INFO", "j")


def fail() -> None:
    try:
        int(SECRET)
    except ValueError as error:
        raise RuntimeError(SECRET) from error


def test_of_an_exception_only_types_and_places_are_written() -> None:
    try:
        fail()
    except RuntimeError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    line = a_line(record)
    assert line["exception"] == ["RuntimeError", "ValueError"]
    assert "test_logs.py" in str(line["traceback"])
    assert SECRET not in json.dumps(line)


@pytest.fixture
def root() -> io.StringIO:
    """The root logger with one handler of its own, as the worker has; put back afterwards."""
    root, written = logging.getLogger(), io.StringIO()
    before, levels = root.handlers[:], {name: logging.getLogger(name).level for name in ("azure", "core", "functions")}
    root.handlers = [logging.StreamHandler(written)]
    logs.configure()
    yield written
    root.handlers = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_every_line_names_the_work_at_hand(root: io.StringIO) -> None:
    with working(Work("get_key", "acc_x"), "correlation-1"):
        logging.getLogger("core.services.x").info("one")
        logging.getLogger("elsewhere").warning("two", extra={"account": "acc_y"})
    logging.getLogger("functions").info("three")
    one, two, three = (json.loads(line) for line in root.getvalue().splitlines())
    assert (one["correlation_id"], one["operation"], one["account"]) == ("correlation-1", "get_key", "acc_x")
    assert (two["correlation_id"], two["account"]) == ("correlation-1", "acc_y")
    assert "correlation_id" not in three


def test_sdks_are_silent_because_their_warnings_quote_answers(root: io.StringIO) -> None:
    logging.getLogger("azure.identity").warning("Content: %s", SECRET)
    assert root.getvalue() == ""
