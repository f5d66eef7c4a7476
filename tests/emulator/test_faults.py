"""Injected faults, latency and counters, seen from outside."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from local.emulator.client import ControlClient, Endpoints

pytestmark = pytest.mark.usefixtures("fresh_conditions")
CUT = aiohttp.ClientConnectionError


class FaultyVault:
    """A vault of three keys, read over plain HTTP."""

    def __init__(self, https: aiohttp.ClientSession, control: ControlClient, uri: str, token: str) -> None:
        self._https = https
        self._headers = {"Authorization": f"Bearer {token}"}
        self._uri = uri
        self.control = control

    async def send(self, method: str, path: str, body: object = None) -> tuple[int, str, dict[str, str]]:
        url = f"{self._uri}{path}"
        params = {"api-version": "7.6"}
        async with self._https.request(method, url, params=params, headers=self._headers, json=body) as response:
            return response.status, await response.text(), dict(response.headers)

    async def status(self, path: str = "keys") -> int:
        return (await self.send("GET", path))[0]

    async def fault(self, action: dict[str, Any], **match: Any) -> str:
        rule = {"action": action, "service": "keyvault", "vault": "Faulty"} | match
        return str((await self.control.post("faults", rule))["id"])


@pytest.fixture(scope="session")
async def made(control: ControlClient) -> dict[str, Any]:
    application = await control.post("principals", {"display_name": "faulty"})
    policy = {"object_id": application["object_id"], "keys": ["all"]}
    vault = await control.post("vaults", {"name": "faulty", "access_policies": [policy]})
    await control.post("vaults/faulty/keys", {"keys": [{"name": "one"}, {"name": "two"}, {"name": "three"}]})
    return {"application": application, "uri": vault["uri"]}


@pytest.fixture
async def vault(
    https: aiohttp.ClientSession,
    control: ControlClient,
    made: dict[str, Any],
    token_of: Callable[..., Awaitable[str]],
) -> FaultyVault:
    token = await token_of(made["application"], "https://vault.azure.net")
    await control.delete("counters")
    return FaultyVault(https, control, made["uri"], token)


async def test_an_error_of_choice(vault: FaultyVault) -> None:
    action = {"kind": "respond", "status": 503, "code": "Busy", "message": "Later.", "headers": {"Retry-After": "7"}}
    await vault.fault(action, count=1)
    status, text, headers = await vault.send("GET", "keys")
    assert (status, headers["Retry-After"]) == (503, "7")
    assert text == '{"error": {"code": "Busy", "message": "Later."}}'
    assert await vault.status() == 200


async def test_a_raw_body(vault: FaultyVault) -> None:
    await vault.fault({"kind": "respond", "status": 200, "body": '{"value": ['}, count=1)
    assert (await vault.send("GET", "keys"))[:2] == (200, '{"value": [')


async def test_rules_pick_by_vault_method_path_and_operation(vault: FaultyVault) -> None:
    error = {"kind": "respond", "status": 500}
    await vault.fault(error, vault="another")
    await vault.fault(error, service="arm")
    await vault.fault(error, method="POST")
    await vault.fault(error, path="^/keys/two")
    await vault.fault(error, operation="list_deleted_keys")
    assert [await vault.status(path) for path in ("keys", "keys/one/", "keys/two/")] == [200, 200, 500]
    rules = (await vault.control.get("faults"))["faults"]
    assert [rule["fired"] for rule in rules] == [0, 0, 0, 1, 0]


async def test_skip_and_count(vault: FaultyVault) -> None:
    await vault.fault({"kind": "respond", "status": 500}, skip=2, count=2)
    assert [await vault.status() for _ in range(6)] == [200, 200, 500, 500, 200, 200]


async def test_a_probability_repeats_with_its_seed(vault: FaultyVault) -> None:
    async def run() -> list[int]:
        rule = await vault.fault({"kind": "respond", "status": 500}, probability=0.5, seed=7)
        statuses = [await vault.status() for _ in range(20)]
        await vault.control.delete(f"faults/{rule}")
        return statuses

    first = await run()
    assert first == await run()
    assert 0 < first.count(500) < 20


async def test_a_cut_before_the_work(vault: FaultyVault) -> None:
    # Not count=1: aiohttp silently repeats an idempotent request once when a kept connection is cut.
    await vault.fault({"kind": "cut"}, method="DELETE")
    with pytest.raises(CUT):
        await vault.send("DELETE", "keys/three")
    assert await vault.status("keys/three/") == 200


async def test_a_cut_after_the_work(vault: FaultyVault) -> None:
    await vault.fault({"kind": "cut_after"}, method="PATCH", count=1)
    with pytest.raises(CUT):
        await vault.send("PATCH", "keys/one/", {"attributes": {"enabled": False}})
    assert '"enabled":false' in (await vault.send("GET", "keys/one/"))[1].replace(" ", "")
    statuses = {row["status"] for row in (await vault.control.get("counters"))["requests"] if row["vault"] == "faulty"}
    assert statuses == {0, 200}


async def test_a_hang_ends_in_a_cut(vault: FaultyVault) -> None:
    await vault.fault({"kind": "hang", "seconds": 0.3})
    begun = time.monotonic()
    with pytest.raises(CUT):
        await vault.status("keys/two/")
    assert time.monotonic() - begun >= 0.3


async def test_a_delay(vault: FaultyVault) -> None:
    await vault.fault({"kind": "delay", "seconds": 0.3}, count=1)
    begun = time.monotonic()
    assert await vault.status() == 200
    assert time.monotonic() - begun >= 0.3


async def test_an_empty_page_with_a_next_link(vault: FaultyVault, https: aiohttp.ClientSession) -> None:
    await vault.fault({"kind": "empty_page"}, operation="list_keys", count=1)
    async with https.get(f"{vault._uri}keys", params={"api-version": "7.6"}, headers=vault._headers) as response:
        page = await response.json()
    assert page["value"] == []
    async with https.get(page["nextLink"], headers=vault._headers) as response:
        assert len((await response.json())["value"]) == 3


async def test_entra_and_arm_can_fail_too(
    control: ControlClient, emulator: Endpoints, https: aiohttp.ClientSession
) -> None:
    for service, url in (("entra", f"{emulator.entra_url}/common/discovery/keys"), ("arm", emulator.arm_url)):
        await control.post("faults", {"service": service, "action": {"kind": "respond", "status": 502}, "count": 1})
        async with https.get(url) as response:
            assert response.status == 502


async def test_latency_delays_requests_side_by_side(vault: FaultyVault) -> None:
    await vault.control.put("latency", {"services": {"keyvault": 5}, "vaults": {"FAULTY": 300}})
    begun = time.monotonic()
    assert await asyncio.gather(*[vault.status() for _ in range(8)]) == [200] * 8
    elapsed = time.monotonic() - begun
    assert 0.3 <= elapsed < 1.2
    await vault.control.put("latency", {"services": {"keyvault": 5}})
    begun = time.monotonic()
    await vault.status()
    assert time.monotonic() - begun < 0.3


async def test_counters_tell_operations_apart(vault: FaultyVault) -> None:
    await vault.status()
    await vault.status("keys/two/")
    await vault.status("keys/two/")
    await vault.status("keys/absent/")
    counted = await vault.control.get("counters")
    rows = [(row["operation"], row["status"], row["count"]) for row in counted["requests"] if row["vault"] == "faulty"]
    assert rows == [("get_key", 200, 2), ("get_key", 404, 1), ("list_keys", 200, 1)]
    await vault.control.delete("counters")
    assert await vault.control.get("counters") == {"total": 0, "requests": []}


async def test_a_path_that_nothing_serves_is_counted(
    control: ControlClient, emulator: Endpoints, https: aiohttp.ClientSession
) -> None:
    async with https.get(f"{emulator.arm_url}/nowhere") as response:
        assert response.status == 404
    rows = (await control.get("counters"))["requests"]
    expected = {"service": "arm", "vault": "", "operation": "unmatched", "status": 404, "count": 1}
    assert [row for row in rows if row["service"] == "arm"] == [expected]
