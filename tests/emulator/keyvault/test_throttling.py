"""Transaction limits: the window on its own, then over the wire, and what answers look like."""

from collections.abc import AsyncIterator

import pytest
from azure.core.exceptions import HttpResponseError

from local.emulator.client import ControlClient
from local.emulator.keyvault.throttling import SlidingWindow

from .clients import ClientOf, MakeRaw, MakeVault, TestVault

REFUSED = "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"


@pytest.fixture
async def throttling(control: ControlClient) -> AsyncIterator[None]:
    """Switch throttling on for one test, as it is by default."""
    await control.put("throttling", {})
    yield
    await control.put("throttling", {"enabled": False})


def test_a_window_admits_its_limit_and_forgets_after_its_length() -> None:
    window = SlidingWindow(10.0)

    assert [window.admit(0.25, now) for now in (0.0, 1.0, 2.0, 3.0, 4.0, 9.9)] == [True] * 4 + [False] * 2
    assert [window.admit(0.25, now) for now in (10.3, 10.4, 11.3)] == [True, False, True]


def test_weights_fill_a_window_together() -> None:
    """The documented example: 248 operations of RSA-4096 and 16 of RSA-2048, HSM-protected."""
    window = SlidingWindow(10.0)

    assert all(window.admit(1 / 250, 5.0) for _ in range(248))
    assert all(window.admit(1 / 2000, 5.0) for _ in range(16))
    assert not window.admit(1 / 2000, 5.0)


async def test_creation_is_limited_by_protection(throttling: None, raw_of: MakeRaw, make_vault: MakeVault) -> None:
    raw = await raw_of(await make_vault("premium"))

    hardware = [(await raw("POST", "/keys/a/create", {"kty": "EC-HSM"})).status for _ in range(12)]
    software = [(await raw("POST", "/keys/b/create", {"kty": "EC"})).status for _ in range(22)]
    refused = await raw("POST", "/keys/a/create", {"kty": "EC-HSM"})

    assert hardware == [200] * 10 + [429] * 2
    assert software == [200] * 20 + [429] * 2
    assert (refused.error, refused.message) == ((429, "Throttled", None), REFUSED)
    assert "Retry-After" not in refused.headers
    assert (await raw("GET", "/keys/a")).status == 200


async def test_larger_keys_cost_more(
    throttling: None, control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault
) -> None:
    vault = await make_vault("standard")
    keys = [{"name": "small", "kty": "RSA"}, {"name": "large", "kty": "RSA", "size": 4096}]
    await control.post(f"vaults/{vault.name}/keys", {"keys": keys})
    await control.put("throttling", {"scale": 0.01})
    raw = await raw_of(vault)

    admitted = [(await raw("GET", "/keys/large")).status for _ in range(6)].count(200)

    assert admitted == 5
    assert (await raw("GET", "/keys/small")).status == 429
    assert (await raw("GET", "/keys")).status == 200


async def test_imports_have_a_limit_of_their_own(
    throttling: None, control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault
) -> None:
    await control.put("throttling", {"scale": 0.01, "retry_after": 7})
    raw = await raw_of(await make_vault("standard"))

    answers = [await raw("PUT", "/keys/a", {"key": {}}) for _ in range(4)]

    assert [answer.status for answer in answers] == [400, 400, 400, 429]
    assert answers[-1].headers["Retry-After"] == "7"


async def test_an_hsm_limits_a_second(throttling: None, raw_of: MakeRaw, make_vault: MakeVault) -> None:
    raw = await raw_of(await make_vault("managed_hsm"))

    created = [(await raw("POST", "/keys/a/create", {"kty": "EC"})).status for _ in range(3)]
    backups = [(await raw("POST", "/keys/a/backup")).status for _ in range(15)]

    assert created[0] == 200
    assert 429 in created
    assert backups[:10] == [200] * 10
    assert 429 in backups


async def test_the_sdk_sees_429(
    throttling: None, control: ControlClient, client_of: ClientOf, vault: TestVault
) -> None:
    await control.put("throttling", {"scale": 0})

    with pytest.raises(HttpResponseError) as refused:
        await client_of(vault).get_key("any", retry_total=0)

    assert refused.value.status_code == 429
