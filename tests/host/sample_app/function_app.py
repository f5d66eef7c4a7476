"""A small app with one function for each behaviour of the host; /api/seen serves what its functions have seen."""

import asyncio
import json
import os
import time
from datetime import UTC, datetime
from typing import Any

import aiohttp
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
SEEN: list[dict[str, Any]] = []
RUNNING = {"now": 0, "most": 0}


def _json(body: Any) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(body), mimetype="application/json")


@app.route(route="echo/{name:alpha}/{rest?}", methods=["GET", "POST"])
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    return _json(
        {
            "method": req.method,
            "url": req.url,
            "headers": dict(req.headers),
            "query": dict(req.params),
            "route": dict(req.route_params),
            "body": req.get_body().decode(),
        }
    )


@app.route(route="noop", methods=["GET"])
async def noop(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(b"", status_code=204)


@app.route(route="things/{id}", methods=["GET"])
async def a_thing(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(f"a thing {req.route_params['id']}")


@app.route(route="things/special", methods=["GET", "PUT"])
async def Special_thing(req: func.HttpRequest) -> func.HttpResponse:  # noqa: N802 - order ignores case
    return func.HttpResponse("special")


@app.route(route="files/{*path}", methods=["GET"])
async def files(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.route_params.get("path", "none"))


@app.route(route="boom")
async def boom(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("the app's own words")


@app.route(route="cookies")
async def cookies(req: func.HttpRequest) -> func.HttpResponse:
    response = func.HttpResponse("", status_code=201, headers={"X-Kind": "test"})
    response.headers.add("Set-Cookie", "a=1; Path=/; HttpOnly")
    response.headers.add("Set-Cookie", "b=2; Max-Age=60; SameSite=Lax")
    return response


@app.route(route="slow/{milliseconds:int}")
async def slow(req: func.HttpRequest) -> func.HttpResponse:
    await asyncio.sleep(int(req.route_params["milliseconds"]) / 1000)
    SEEN.append({"function": "slow"})
    return func.HttpResponse("done")


@app.route(route="sync")
def sync(req: func.HttpRequest) -> func.HttpResponse:
    time.sleep(0.01)
    return func.HttpResponse("sync")


@app.route(route="length", methods=["POST"])
async def length(req: func.HttpRequest) -> func.HttpResponse:
    return _json(len(req.get_body()))


@app.route(route="with-function-key", auth_level=func.AuthLevel.FUNCTION)
async def with_function_key(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("opened")


@app.route(route="with-master-key", auth_level=func.AuthLevel.ADMIN)
async def with_master_key(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("opened")


@app.route(route="setting/{name}")
async def setting(req: func.HttpRequest) -> func.HttpResponse:
    return _json(os.environ.get(req.route_params["name"]))


@app.route(route="call", methods=["POST"])
async def call(req: func.HttpRequest) -> func.HttpResponse:
    """Call an address several times, one after the other, and answer the statuses."""
    wanted = req.get_json()
    async with aiohttp.ClientSession() as session:
        statuses = []
        for _ in range(wanted["times"]):
            async with session.get(wanted["url"]) as response:
                statuses.append(response.status)
    return _json(statuses)


@app.route(route="seen")
async def seen(req: func.HttpRequest) -> func.HttpResponse:
    return _json({"calls": SEEN, "most_at_once": RUNNING["most"], "now": datetime.now(UTC).isoformat()})


@app.route(route="admin-things")
async def reserved_route(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("never served")


@app.route(route="things/{ID}", methods=["GET"])
async def same_route(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("never served")


@app.timer_trigger(arg_name="timer", schedule="* * * * * *", use_monitor=False)
async def every_second(timer: func.TimerRequest) -> None:
    SEEN.append({"function": "every_second", "past_due": timer.past_due})


@app.timer_trigger(arg_name="timer", schedule="%YEARLY%")
async def yearly(timer: func.TimerRequest) -> None:
    SEEN.append({"function": "yearly", "past_due": timer.past_due, "status": timer.schedule_status})


@app.queue_trigger(arg_name="message", queue_name="%WORK_QUEUE%", connection="AzureWebJobsStorage")
async def work(message: func.QueueMessage) -> None:
    """Do what the message says: fail always, fail once, or take a while."""
    body = message.get_body().decode()
    SEEN.append({"function": "work", "body": body, "attempt": message.dequeue_count, "id": message.id})
    RUNNING["now"] += 1
    RUNNING["most"] = max(RUNNING.values())
    try:
        await asyncio.sleep(float(body.removeprefix("sleep ")) if body.startswith("sleep ") else 0)
    finally:
        RUNNING["now"] -= 1
    if body == "fail" or (body == "fail once" and message.dequeue_count == 1):
        raise RuntimeError(body)


@app.queue_trigger(arg_name="message", queue_name="%NOT_SET%", connection="AzureWebJobsStorage")
async def unresolved(message: func.QueueMessage) -> None:
    SEEN.append({"function": "unresolved"})


@app.route(route="clock")
async def clock(req: func.HttpRequest) -> func.HttpResponse:
    """Tell the time by the product's clock, which the host can move."""
    from core.adapters.clock import SystemClock  # noqa: PLC0415 - the other functions need no product

    return _json(SystemClock().now().isoformat())
