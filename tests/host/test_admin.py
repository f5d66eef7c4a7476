"""The host's own routes: status, the product's clock and the crash."""

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from local.stack import Stack, StackError


async def test_status_names_functions_and_those_in_error(sample_stack: Stack) -> None:
    status = await sample_stack.host.status()
    assert {"echo", "work", "yearly", "Special_thing"} <= set(status["functions"])
    assert set(status["errors"]) == {"reserved_route", "same_route", "unresolved"}
    assert "NOT_SET" in status["errors"]["unresolved"]


async def test_clock_moves_and_moves_back(sample_stack: Stack, client: aiohttp.ClientSession) -> None:
    async def product_time() -> datetime:
        async with client.get("/api/clock") as response:
            return datetime.fromisoformat(await response.json())

    await sample_stack.host.move_clock(86_400)
    assert timedelta(hours=23) < await product_time() - datetime.now(UTC) < timedelta(hours=25)
    await sample_stack.host.move_clock(0)
    assert abs(await product_time() - datetime.now(UTC)) < timedelta(minutes=1)


async def _call_arm(client: aiohttp.ClientSession, sample_stack: Stack, times: int) -> Any:
    """Let the app call Resource Manager, which refuses callers without a token."""
    target = {"url": f"{sample_stack.arm_url}/subscriptions", "times": times}
    async with client.post("/api/call", json=target) as response:
        return await response.json()


async def test_calls_of_the_app_are_counted_and_those_of_the_host_are_not(
    sample_stack: Stack, client: aiohttp.ClientSession
) -> None:
    before = (await sample_stack.host.status())["outgoing_calls"]
    assert len(await _call_arm(client, sample_stack, 3)) == 3
    assert (await sample_stack.host.status())["outgoing_calls"] == before + 3


@pytest.mark.parametrize(("moment", "sent"), [("before", 1), ("after", 2)])
async def test_crash_at_a_chosen_call(
    sample_stack: Stack, client: aiohttp.ClientSession, moment: Any, sent: int
) -> None:
    async with aiohttp.ClientSession(sample_stack.control_url, raise_for_status=True) as control:
        await sample_stack.host.crash_at(2, moment)
        await control.delete("/control/counters")
        with pytest.raises(aiohttp.ClientError):
            await _call_arm(client, sample_stack, 3)
        assert await sample_stack.host.part.wait() == 137
        async with control.get("/control/counters") as response:
            rows = (await response.json())["requests"]
    assert sum(row["count"] for row in rows if row["service"] == "arm") == sent
    url = sample_stack.host_url
    await sample_stack.restart_host()
    assert sample_stack.host_url == url
    assert len(await _call_arm(client, sample_stack, 3)) == 3


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "host/crash", {"after_calls": "x"}),
        ("PUT", "host/crash", {"after_calls": 1, "moment": "never"}),
        ("PUT", "host/clock", {}),
        ("POST", "functions/echo", {}),
        ("POST", "functions/absent", {}),
        ("GET", "host/absent", None),
    ],
)
async def test_wrong_admin_requests(sample_stack: Stack, method: str, path: str, body: dict[str, Any] | None) -> None:
    with pytest.raises(StackError, match="answered 4"):
        await sample_stack.host._admin(method, path, body)
