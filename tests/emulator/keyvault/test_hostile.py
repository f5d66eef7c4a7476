"""Whatever is sent, the answer is an answer of the service: never a server error, never a hang."""

import asyncio
import time
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .clients import MakeRaw, TestVault

SEGMENTS = st.sampled_from(
    ["keys", "deletedkeys", "rng", "restore", "create", "versions", "rotationpolicy", "sign", "release", "", "known"]
) | st.text(max_size=8).map(lambda text: quote(text, safe=""))
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=12)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner))
MEMBERS = st.dictionaries(
    st.sampled_from(
        ["kty", "key", "key_ops", "attributes", "tags", "value", "alg", "release_policy", "lifetimeActions", "count"]
    ),
    VALUES | st.sampled_from(["RSA", "EC", "oct-HSM", "RS256", {"kty": "EC", "key_hsm": "e30"}, {"enabled": 1}]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    segments=st.lists(SEGMENTS, min_size=1, max_size=4),
    body=MEMBERS | st.none(),
)
async def test_any_request_gets_an_answer(
    raw_of: MakeRaw, either: TestVault, method: str, segments: list[str], body: dict[str, object] | None
) -> None:
    answer = await (await raw_of(either))(method, "/" + "/".join(segments), body)

    assert answer.status in (200, 204, 400, 403, 404, 409)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/keys/k"),
        ("POST", "/keys/k/create"),
        ("PATCH", "/keys/k"),
        ("POST", "/keys/restore"),
        ("POST", "/keys/k//sign"),
        ("PUT", "/keys/k/rotationpolicy"),
    ],
)
@pytest.mark.parametrize("body", [b"\xff", b"{", b"[]", b'"x"', b"null", b"1e999", b'{"a":' * 50_000])
async def test_bodies_that_are_no_object_are_refused(
    raw_of: MakeRaw, vault: TestVault, method: str, path: str, body: bytes
) -> None:
    assert (await (await raw_of(vault))(method, path, body)).error == (400, "BadParameter", None)


async def test_a_body_over_the_limit_is_refused(raw_of: MakeRaw, vault: TestVault) -> None:
    answer = await (await raw_of(vault))("POST", "/keys/restore", b'{"value":"' + b"A" * (17 * 1024 * 1024) + b'"}')

    assert answer.status == 413


async def test_making_large_keys_delays_nobody(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)
    making = [
        asyncio.create_task(raw("POST", f"/keys/heavy-{number}/create", {"kty": "RSA", "key_size": 4096}))
        for number in range(4)
    ]
    delays = []
    while not all(task.done() for task in making):
        started = time.perf_counter()
        assert (await raw("GET", "/keys?maxresults=1")).status == 200
        delays.append(time.perf_counter() - started)

    assert sorted(delays)[len(delays) // 2] < 0.1
    assert [task.result().status for task in making] == [200] * 4


async def test_parallel_creations_of_a_name_are_versions_of_one_key(raw_of: MakeRaw, vault: TestVault) -> None:
    raw = await raw_of(vault)

    answers = await asyncio.gather(*(raw("POST", "/keys/racing/create", {"kty": "EC"}) for _ in range(10)))

    versions = (await raw("GET", "/keys/racing/versions")).json["value"]
    assert {item["kid"] for item in versions} == {answer.json["key"]["kid"] for answer in answers}
    assert len(versions) == 10


@pytest.mark.parametrize("path", ["/keys/known/", "/keys/known", "//keys/known", "/KEYS/known"])
async def test_paths_are_read_leniently(raw_of: MakeRaw, vault: TestVault, path: str) -> None:
    raw = await raw_of(vault)
    await raw("POST", "/keys/known/create", {"kty": "EC"})

    assert (await raw("GET", path)).json["key"]["kid"].startswith(f"{vault.url}/keys/known/")
