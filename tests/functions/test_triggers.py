"""Timers and queues: one call each, a log line, and no text of an exception to the host."""

import json
from types import SimpleNamespace

import azure.functions as func
import pytest

from core.wiring import App
from functions.queues import POISON_QUEUE, QUEUE, job_of, queues_blueprint
from functions.timers import timers_blueprint
from functions.triggers import TriggeredWorkError
from tests.builders.http import Premises

JOB = "job_aaaaaaaaaaaaaaaaaaaaaaaa"
SECRET = "s3cret-in-an-exception"


class Recorder:
    """Services that note which of them was called, and fail on request."""

    def __init__(self) -> None:
        self.called: list[tuple[str, ...]] = []
        self.error: Exception | None = None
        named = {
            "syncs": ("schedule_due",),
            "jobs": ("reconcile", "run", "poisoned"),
            "idempotency": ("expire",),
            "drills": ("schedule_due",),
            "expiring_keys": ("find",),
        }
        for service, methods in named.items():
            setattr(self, service, SimpleNamespace(**{name: self._method(name) for name in methods}))

    def _method(self, name: str) -> object:
        async def call(*arguments: str) -> None:
            self.called.append((name, *arguments))
            if self.error is not None:
                raise self.error

        return call

    async def app(self) -> "Recorder":
        return self


def functions_of(blueprint: func.Blueprint) -> dict[str, func.Function]:
    app = func.FunctionApp()
    app.register_functions(blueprint)
    return {function.get_function_name(): function for function in app.get_functions()}


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("schedule_syncs", "schedule_due"),
        ("reconcile_jobs", "reconcile"),
        ("expire_idempotency", "expire"),
        ("drill_escrow", "schedule_due"),
        ("find_expiring_keys", "find"),
    ],
)
async def test_a_tick_is_one_call(name: str, called: str) -> None:
    recorder = Recorder()
    function = functions_of(timers_blueprint(recorder.app))[name]
    await function.get_user_function()(timer=None)
    assert recorder.called == [(called,)]
    trigger = function.get_trigger().get_dict_repr()
    assert len(trigger["schedule"].split()) == 6
    assert trigger["runOnStartup"] is False


@pytest.mark.parametrize(
    ("name", "called", "queue"), [("run_job", "run", QUEUE), ("fail_poisoned_job", "poisoned", POISON_QUEUE)]
)
async def test_a_message_names_one_job(name: str, called: str, queue: str) -> None:
    recorder = Recorder()
    function = functions_of(queues_blueprint(recorder.app))[name]
    await function.get_user_function()(
        message=func.QueueMessage(body=json.dumps({"account": "acc_x", "job": JOB}).encode())
    )
    assert recorder.called == [(called, "acc_x", JOB)]
    trigger = function.get_trigger().get_dict_repr()
    assert (trigger["queueName"], trigger["connection"]) == (queue, "AzureWebJobsStorage")


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[]", b"{}", b'{"account": 1, "job": 2}', b'{"account": "acc_x", "job": "../x"}', b"[" * 9_999],
)
async def test_a_message_that_names_no_job_is_dropped(body: bytes) -> None:
    assert job_of(body) is None
    recorder = Recorder()
    run = functions_of(queues_blueprint(recorder.app))["run_job"].get_user_function()
    await run(message=func.QueueMessage(body=body))
    assert recorder.called == []


async def test_a_failure_reaches_the_host_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    recorder.error = RuntimeError(SECRET)
    run = functions_of(queues_blueprint(recorder.app))["run_job"].get_user_function()
    with pytest.raises(TriggeredWorkError) as failed:
        await run(message=func.QueueMessage(body=json.dumps({"account": "acc_x", "job": JOB}).encode()))
    assert SECRET not in str(failed.value)
    assert failed.value.__suppress_context__
    assert SECRET not in caplog.text


async def test_a_job_that_nobody_knows_does_no_harm() -> None:
    app: App = Premises().app

    async def opened() -> App:
        return app

    run = functions_of(queues_blueprint(opened))["run_job"].get_user_function()
    await run(message=func.QueueMessage(body=json.dumps({"account": "acc_x", "job": JOB}).encode()))
