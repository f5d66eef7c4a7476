"""What makes versions is sent once: at every fault of an emulated vault there is one version at most, and it shows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import (
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.core.pipeline import AsyncPipeline
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.keyvault.keys._shared import http_challenge_cache
from cryptography.hazmat.primitives.asymmetric import ec

from core.adapters.azure import retries, transports
from core.adapters.azure.retries import BoundedRetryPolicy, Sending, SendingPolicy, sent_once
from core.adapters.azure.vaults import AzureVaults
from core.domain.connections import OpenConnection, Proxy, VaultFacts
from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.new_keys import NewVersion, RotationPolicy, VersionChanges
from core.errors import (
    ConflictError,
    KeystewardError,
    NotFoundError,
    VaultAnswerError,
    VaultDeniedError,
    VaultOutcomeUnknownError,
    VaultUnavailableError,
)
from core.ports import VaultKeys
from tests.adapters.azure.material import a_private_jwk, a_transfer_blob
from tests.builders.azure import Application, AzureWorld

SOFT = NewVersion("EC", KeyKind(KeyFamily.EC, curve="P-256"), ("sign", "verify"))
HARD = replace(SOFT, type="EC-HSM")
EXCHANGE = NewVersion("RSA-HSM", KeyKind(KeyFamily.RSA, 2048), ("import",))
ONCE = {"create": "create_key", "import": "import_key", "blob": "import_key", "rotate": "rotate_key"}


@dataclass
class Place:
    """A premium vault with a key 'k' of one version, opened and warmed up, and every way to give that key another."""

    azure: AzureWorld
    vault: VaultFacts
    connection: OpenConnection
    keys: VaultKeys
    blob: bytes = b""

    def make(self, how: str, keys: VaultKeys | None = None) -> Awaitable[Any]:
        keys = keys or self.keys
        match how:
            case "create":
                return keys.create("k", SOFT)
            case "import":
                return keys.import_key("k", SOFT, a_private_jwk(ec.generate_private_key(ec.SECP256R1())))
            case "blob":
                return keys.import_transfer_blob("k", HARD, self.blob)
        return keys.rotate("k")

    async def fault(self, kind: str, operation: str, count: int | None = 1, **members: Any) -> None:
        skip = members.pop("skip", 0)
        action = {"kind": kind, **members}
        await self.azure.fault(action=action, vault=self.vault.name, operation=operation, count=count, skip=skip)

    async def made(self) -> int:
        """Versions beyond the first."""
        return len(await self.keys.list_versions("k")) - 1

    async def sent(self, operation: str) -> int:
        return (await self.azure.requests("keyvault", self.vault.name)).get(operation, 0)


@pytest.fixture
async def place(azure: AzureWorld, application: Application, vaults: AzureVaults) -> AsyncIterator[Place]:
    policy = {"object_id": application.object_id, "keys": ["all"]}
    vault = await azure.vault(application, sku="premium", access_policies=[policy])
    await azure.seed(vault, {"name": "k", "created_offset": -60})
    connection = azure.connection(application)
    async with vaults.keys("grp_once", connection, vault) as keys:
        exchange = (await keys.create("kek", EXCHANGE))[1]
        target = ec.generate_private_key(ec.SECP256R1())
        blob = a_transfer_blob(vault.uri, ("kek", exchange.id, exchange.public_key), target)
        await azure.control.delete("counters")
        yield Place(azure, vault, connection, keys, blob)


@pytest.fixture
def two_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("retry_total", "retry_connect", "retry_read", "retry_status"):
        monkeypatch.setitem(retries._DEFAULTS, name, 1)


LOST: list[tuple[str, dict[str, Any], int]] = [
    ("cut", {}, 0),
    ("cut_after", {}, 1),
    ("respond", {"status": 500}, 0),
    ("respond", {"status": 502}, 0),
    ("respond", {"status": 503}, 0),
    ("respond", {"status": 504, "headers": {"Retry-After": "1"}}, 0),
    ("respond", {"status": 408}, 0),
    ("respond", {"status": 200, "body": "<html>"}, 0),
    ("respond", {"status": 200, "body": "{}"}, 0),
    ("respond", {"status": 200, "body": "[" * 100_000}, 0),
    ("respond", {"status": 200, "body": "ÿ", "headers": {"Content-Type": "application/json; charset=utf-16"}}, 0),
    ("respond", {"status": 200, "body": "{}", "headers": {"Content-Type": "application/octet-stream"}}, 0),
    ("respond", {"status": 202, "body": "{}"}, 0),
]


@pytest.mark.parametrize(("kind", "members", "made"), LOST, ids=[f"{n}-{lost[0]}" for n, lost in enumerate(LOST)])
@pytest.mark.parametrize("how", ONCE)
async def test_a_lost_answer_is_no_reason_to_send_again(
    place: Place, how: str, kind: str, members: dict[str, Any], made: int
) -> None:
    await place.fault(kind, ONCE[how], **members)
    with pytest.raises(VaultOutcomeUnknownError) as caught:
        await place.make(how)
    assert (caught.value.code, caught.value.retry_after.total_seconds() > 0) == ("vault_outcome_unknown", True)
    assert caught.value.facts["operation"] == ONCE[how].removesuffix("_key")
    assert caught.value.__cause__ is None
    assert (await place.sent(ONCE[how]), await place.made()) == (1, made)


@pytest.mark.parametrize("kind", ["hang", "delay"])
@pytest.mark.parametrize("how", ONCE)
async def test_silence_is_no_reason_to_send_again(
    place: Place, vaults: AzureVaults, how: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transports, "READ_SECONDS", 0.3)
    await place.fault(kind, ONCE[how], seconds=0.8)
    async with vaults.keys("grp_impatient", place.connection, place.vault) as keys:
        with pytest.raises(VaultOutcomeUnknownError) as caught:
            await place.make(how, keys)
    assert caught.value.facts["cause"] == "unreachable"
    await asyncio.sleep(1.2)
    assert (await place.sent(ONCE[how]), await place.made()) == (1, 1 if kind == "delay" else 0)


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "1"}, {"Retry-After": "0"}])
@pytest.mark.parametrize("how", ONCE)
async def test_a_throttled_request_was_not_done_and_is_sent_again(
    place: Place, how: str, headers: dict[str, str]
) -> None:
    await place.fault("respond", ONCE[how], status=429, code="Throttled", headers=headers)
    await place.make(how)
    assert (await place.sent(ONCE[how]), await place.made()) == (2, 1)


@pytest.mark.parametrize("how", ONCE)
async def test_after_a_throttled_try_a_lost_answer_counts_as_before(place: Place, how: str) -> None:
    await place.fault("respond", ONCE[how], status=429, code="Throttled")
    await place.fault("cut_after", ONCE[how])
    with pytest.raises(VaultOutcomeUnknownError):
        await place.make(how)
    assert (await place.sent(ONCE[how]), await place.made()) == (2, 1)


@pytest.mark.usefixtures("two_attempts")
async def test_throttling_without_end_did_nothing(place: Place, vaults: AzureVaults) -> None:
    await place.fault("respond", "create_key", count=None, status=429, code="Throttled")
    async with vaults.keys("grp_throttled", place.connection, place.vault) as keys:
        with pytest.raises(VaultUnavailableError) as caught:
            await place.make("create", keys)
    assert (type(caught.value), caught.value.code) == (VaultUnavailableError, "vault_throttled")
    assert (await place.sent("create_key"), await place.made()) == (2, 0)


async def test_a_long_retry_after_is_handed_on(place: Place) -> None:
    await place.fault("respond", "create_key", status=429, headers={"Retry-After": "300"})
    with pytest.raises(VaultUnavailableError) as caught:
        await place.make("create")
    assert (caught.value.code, caught.value.retry_after.total_seconds()) == ("vault_throttled", 300)
    # Nobody waits for minutes, whatever he asks of the same limit; reads go on.
    with pytest.raises(VaultUnavailableError) as caught:
        await place.make("create")
    assert caught.value.code == "vault_throttled"
    assert 290 < caught.value.retry_after.total_seconds() <= 300
    assert (await place.sent("create_key"), await place.made()) == (1, 0)


@pytest.mark.parametrize("how", ONCE)
async def test_the_challenge_for_a_token_is_no_second_sending(place: Place, how: str) -> None:
    http_challenge_cache.clear()
    await place.make(how)
    # The first request is refused with a challenge, and has neither token nor body.
    assert (await place.sent(ONCE[how]), await place.made()) == (2, 1)


@pytest.mark.parametrize("how", ONCE)
async def test_a_lost_answer_after_the_challenge_counts_as_before(place: Place, how: str) -> None:
    http_challenge_cache.clear()
    await place.fault("cut_after", ONCE[how], skip=1)
    with pytest.raises(VaultOutcomeUnknownError):
        await place.make(how)
    assert (await place.sent(ONCE[how]), await place.made()) == (2, 1)


@pytest.mark.parametrize("how", ONCE)
async def test_a_body_follows_no_redirect(place: Place, azure: AzureWorld, application: Application, how: str) -> None:
    elsewhere = await azure.vault(application)
    headers = {"Location": f"{elsewhere.uri}/keys/k/create?api-version=7.4"}
    await place.fault("respond", ONCE[how], status=307, headers=headers)
    with pytest.raises(VaultAnswerError):
        await place.make(how)
    assert (await place.sent(ONCE[how]), await place.made()) == (1, 0)
    assert await azure.requests("keyvault", elsewhere.name) == {}


@pytest.mark.parametrize(
    ("kind", "cause"),
    [("untrusted_ca", "tls_not_trusted"), ("wrong_host", "tls_host_mismatch"), ("expired", "tls_certificate_expired")],
)
async def test_without_a_trusted_connection_nothing_was_sent(
    place: Place, vaults: AzureVaults, kind: str, cause: str
) -> None:
    listener = await place.azure.control.post("listeners", {"kind": kind, "target": place.vault.name})
    elsewhere = replace(place.vault, uri=listener["url"])
    async with vaults.keys("grp_tls", place.connection, elsewhere) as keys:
        with pytest.raises(VaultUnavailableError) as caught:
            await place.make("create", keys)
    assert (type(caught.value), caught.value.facts["cause"]) == (VaultUnavailableError, cause)
    assert (await place.sent("create_key"), await place.made()) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "uri", "cause"),
    [
        ({}, "https://localhost:1", "unreachable"),
        ({}, "https://nowhere.invalid", "name_not_resolved"),
        ({"proxy": Proxy("http://localhost:1")}, None, "proxy_refused"),
    ],
)
async def test_without_a_connection_nothing_was_sent(
    place: Place, vaults: AzureVaults, changes: dict[str, Any], uri: str | None, cause: str
) -> None:
    connection = replace(place.connection, connection=replace(place.connection.connection, **changes))
    async with vaults.keys("grp_dark", connection, replace(place.vault, uri=uri or place.vault.uri)) as keys:
        with pytest.raises(VaultUnavailableError) as caught:
            await place.make("create", keys)
    assert (type(caught.value), caught.value.facts["cause"]) == (VaultUnavailableError, cause)


@pytest.mark.parametrize("action", [{"kind": "cut"}, {"kind": "respond", "status": 503}])
@pytest.mark.usefixtures("two_attempts")
async def test_a_failed_sign_in_is_not_the_vaults_answer(
    place: Place, vaults: AzureVaults, action: dict[str, Any]
) -> None:
    await place.azure.fault(action=action, service="entra")
    async with vaults.keys("grp_unsigned", place.connection, place.vault) as keys:
        with pytest.raises(KeystewardError) as caught:
            await place.make("create", keys)
    assert not isinstance(caught.value, VaultOutcomeUnknownError)
    assert isinstance(caught.value, VaultUnavailableError | VaultDeniedError)
    assert await place.made() == 0


class Script(AsyncHttpTransport[HttpRequest, AsyncHttpResponse]):
    """A transport that answers by a script: statuses, and errors to raise. Nobody sleeps."""

    def __init__(self, *script: int | Exception) -> None:
        self.script = list(script)
        self.sent = 0

    async def send(self, request: HttpRequest, **options: Any) -> Any:
        assert options == {}
        self.sent += 1
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return Reply(step)

    async def sleep(self, duration: float) -> None:
        assert duration <= 30

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


@dataclass
class Reply:
    status_code: int
    headers: dict[str, str] = field(default_factory=dict)


def refused() -> ServiceRequestError:
    key = aiohttp.client_reqrep.ConnectionKey("host.example", 443, True, True, None, None, None)
    error = aiohttp.ClientConnectorError(key, ConnectionRefusedError())
    return ServiceRequestError(error, error=error)


def broken() -> ServiceRequestError:
    error = transports.CutConnectionError()
    return ServiceRequestError(error, error=error)


@pytest.mark.parametrize(
    ("script", "sent", "outstanding"),
    [
        ([200], 1, True),
        ([404], 1, False),
        ([429, 429, 200], 3, True),
        ([429] * 20, 7, False),
        ([refused(), 200], 2, True),
        ([refused()] * 20, 3, False),
        ([429, refused(), 429, 409], 4, False),
        ([broken(), 200], 1, True),
        ([refused(), broken(), 200], 2, True),
        ([429, 503, 200], 2, True),
        ([ServiceResponseTimeoutError("silence"), 200], 1, True),
        ([ServiceRequestTimeoutError("no connection", error=aiohttp.ConnectionTimeoutError()), 200], 2, True),
    ],
    ids=range(12),
)
@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_what_is_sent_again(method: str, script: list[int | Exception], sent: int, outstanding: bool) -> None:
    transport, sending = Script(*script), Sending()
    policies: list[Any] = [BoundedRetryPolicy(), SendingPolicy()]
    pipeline: AsyncPipeline[HttpRequest, AsyncHttpResponse] = AsyncPipeline(transport, policies)
    with suppress(ServiceRequestError, ServiceResponseError):
        await pipeline.run(HttpRequest(method, "https://vault.example/keys/k"), **sent_once(sending))
    assert (transport.sent, sending.outstanding) == (sent, outstanding)


async def settled(place: Place, read: Callable[[str], Awaitable[Any]], name: str) -> None:
    for _ in range(60):
        try:
            await read(name)
        except NotFoundError:
            await asyncio.sleep(0.05)
        else:
            return
    pytest.fail("it did not settle")


async def test_changes_are_sent_again_and_done_once(place: Place) -> None:
    version = (await place.keys.get_version("k", None))[1].id
    for operation in ("update_key", "update_key_rotation_policy"):
        await place.fault("cut_after", operation)
    updated = await place.keys.update("k", version, VersionChanges(enabled=False))
    policy = await place.keys.set_rotation_policy("k", RotationPolicy("P30D"))
    assert (updated[1].validity.enabled, policy.rotate_after_creation) == (False, "P30D")
    assert (await place.sent("update_key"), await place.sent("update_key_rotation_policy")) == (2, 2)
    assert await place.made() == 0


async def test_a_change_whose_first_try_was_done_finds_its_work_done(place: Place) -> None:
    backup = await place.keys.back_up("k")
    await place.fault("cut_after", "delete_key")
    with pytest.raises(ConflictError) as caught:
        await place.keys.delete("k")
    assert caught.value.code == "key_being_deleted"
    await settled(place, place.keys.get_deleted, "k")

    await place.fault("cut_after", "recover_deleted_key")
    with pytest.raises(ConflictError) as caught:
        await place.keys.recover("k")
    assert caught.value.code == "key_being_recovered"
    await settled(place, lambda name: place.keys.get_version(name, None), "k")

    await place.keys.delete("k")
    await settled(place, place.keys.get_deleted, "k")
    await place.fault("cut_after", "purge_deleted_key")
    with pytest.raises(ConflictError) as caught:
        await place.keys.purge("k")
    assert caught.value.code == "key_being_deleted"

    await asyncio.sleep(1.1)
    await place.fault("cut_after", "restore_key")
    with pytest.raises(ConflictError) as caught:
        await place.keys.restore(backup)
    assert caught.value.code == "vault_conflict"
    assert await place.made() == 0


async def test_in_a_managed_hsm_the_work_is_done_at_once(
    azure: AzureWorld, application: Application, vaults: AzureVaults
) -> None:
    hsm = await azure.vault(application, sku="managed_hsm")
    await azure.seed(hsm, {"name": "k", "kty": "EC-HSM"})
    async with vaults.keys("grp_hsm", azure.connection(application), hsm) as keys:
        await keys.get_version("k", None)
        steps = (("delete_key", keys.delete), ("recover_deleted_key", keys.recover), ("delete_key", keys.delete))
        for operation, call in (*steps, ("purge_deleted_key", keys.purge)):
            await azure.fault(action={"kind": "cut_after"}, vault=hsm.name, operation=operation, count=1)
            with pytest.raises(NotFoundError):
                await call("k")
        with pytest.raises(NotFoundError):
            await keys.get_deleted("k")
