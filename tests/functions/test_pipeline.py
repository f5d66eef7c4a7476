"""The way of a request, with operations made for it: order of checks, correlation, idempotency, failures."""

import asyncio
import json
from datetime import timedelta

import pytest

from core import correlation
from core.domain.accounts import AccountRole
from core.domain.callers import Caller
from core.domain.idempotency import KEPT_FOR
from core.domain.identifiers import IdKind, is_id
from core.domain.permissions import Permission
from core.errors import ConflictError, VaultUnavailableError
from core.services.members import NewMember
from core.wiring import App
from functions.models.base import AnswerModel, NoQuery, RequestModel
from functions.operations import Answer, Call, Openness, Operation, Precondition
from tests.builders.http import Api, Premises
from tests.builders.people import ALICE, BOB, GROUP, ROOT

SECRET = "s3cret-in-an-exception"
STRANGE = "acc_aaaaaaaaaaaaaaaaaaaaaaaa"


class Number(RequestModel):
    """A body."""

    number: int


class Echo(AnswerModel):
    """An answer."""

    number: int
    calls: int
    correlation_id: str


class Bench:
    """An API of a few operations that count their calls and fail on request."""

    def __init__(self, premises: Premises) -> None:
        self.calls = 0
        self.request_ids: list[str] = []
        self.error: Exception | None = None
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.premises = premises
        self.api = Api(premises.app, self.operations()).calling(ROOT)

    async def handle(self, _app: App, call: Call[Number, NoQuery]) -> Answer:
        self.calls += 1
        self.request_ids.append(call.request_id)
        self.entered.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Answer(Echo(number=call.body.number, calls=self.calls, correlation_id=correlation.current.get()))

    def operations(self) -> list[Operation]:
        def operation(
            name: str, route: str, needs: Permission | Openness, precondition: Precondition, *, kept: bool = True
        ) -> Operation:
            return Operation(
                name=name,
                method="POST",
                route=route,
                summary="-",
                needs=needs,
                handler=self.handle,
                tag="T",
                body=Number,
                answer=Echo,
                precondition=precondition,
                kept=kept,
            )

        account, none = "v1/accounts/{account}", Precondition.NONE
        return [
            operation("mine", "v1/mine", Openness.AUTHENTICATED, none),
            operation("in_account", account, Permission.ACCOUNT_UPDATE, none),
            operation("in_group", f"{account}/groups/{{group}}", Permission.GROUP_SYNC, none),
            operation("export", f"{account}/export", Permission.ACCOUNT_UPDATE, none, kept=False),
            operation("conditional", f"{account}/conditional", Permission.ACCOUNT_UPDATE, Precondition.REQUIRED),
        ]


@pytest.fixture
def bench() -> Bench:
    return Bench(Premises())


@pytest.fixture
async def account(bench: Bench) -> str:
    return await bench.premises.office.an_account()


async def test_answers_with_what_the_handler_says(bench: Bench) -> None:
    response = await bench.api.send("POST", "v1/mine", {"number": 7})
    assert (response.status, response.json["number"]) == (200, 7)
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("offered", "kept"), [("build-4711.x_y", True), ("short", False), ("x" * 65, False), ("evil\nheader", False)]
)
async def test_a_well_formed_correlation_id_is_kept(bench: Bench, offered: str, kept: bool) -> None:
    response = await bench.api.send("POST", "v1/mine", {"number": 7}, headers={"x-correlation-id": offered})
    assert (response.headers["x-correlation-id"] == offered) is kept
    assert response.json["correlation_id"] == response.headers["x-correlation-id"]


async def test_checks_come_in_an_order_that_tells_strangers_nothing(bench: Bench, account: str) -> None:
    nobody, alice = bench.api.calling(), bench.api.calling(ALICE)
    nonsense = {"content": b"{", "headers": {"content-type": "application/json"}}
    assert (await nobody.send("POST", f"v1/accounts/{account}", **nonsense)).status == 401
    for unseen in (account, STRANGE, "acc_X", f"{account}x", "%0A"):
        response = await alice.send("POST", f"v1/accounts/{unseen}", **nonsense)
        assert (response.status, response.code) == (404, "account_not_found")
        assert response.json["detail"] == "There is no such account."
    assert (await bench.api.send("POST", f"v1/accounts/{account}", **nonsense)).code == "malformed_json"
    assert bench.calls == 0


async def test_what_is_seen_but_not_permitted_names_the_permission(bench: Bench, account: str) -> None:
    await bench.premises.office.members.add(ROOT, account, NewMember(AccountRole.MEMBER, object_id=BOB.object_id))
    response = await bench.api.calling(BOB).send("POST", f"v1/accounts/{account}", {"number": 7})
    assert (response.status, response.json["permission"]) == (403, "account.update")
    unseen = await bench.api.calling(BOB).send("POST", f"v1/accounts/{account}/groups/{GROUP}", {"number": 7})
    assert (unseen.status, unseen.code) == (404, "group_not_found")


@pytest.mark.parametrize("if_match", [None, '"Zm9v"'])
async def test_an_update_needs_the_etag(bench: Bench, account: str, if_match: str | None) -> None:
    headers = {"if-match": if_match} if if_match else {}
    response = await bench.api.send("POST", f"v1/accounts/{account}/conditional", {"number": 7}, headers=headers)
    assert response.status == (200 if if_match else 428)


async def test_an_unexpected_exception_is_a_bare_problem(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.error = RuntimeError(SECRET)
    response = await bench.api.send("POST", "v1/mine", {"number": 7})
    assert (response.status, response.code) == (500, "internal")
    assert response.json["correlation_id"] == response.headers["x-correlation-id"]
    assert SECRET not in response.content.decode()
    assert SECRET not in caplog.text
    logged = next(record for record in caplog.records if record.message == "unexpected exception")
    assert vars(logged)["exception"] == ["RuntimeError"]


async def test_an_upstream_failure_says_when_to_come_back(bench: Bench) -> None:
    bench.error = VaultUnavailableError("Busy.", retry_after=timedelta(seconds=7))
    response = await bench.api.send("POST", "v1/mine", {"number": 7})
    assert (response.status, response.headers["Retry-After"]) == (503, "7")


class TestIdempotency:
    """Requests under a key."""

    KEY = {"idempotency-key": "4711"}  # noqa: RUF012 - a constant

    async def test_is_done_once_and_answered_alike(self, bench: Bench, account: str) -> None:
        path = f"v1/accounts/{account}"
        first = await bench.api.send("POST", path, {"number": 7}, headers=self.KEY)
        again = await bench.api.send(
            "POST", path, content=b'{ "number" : 7 }', headers={**self.KEY, "content-type": "application/json"}
        )
        assert bench.calls == 1
        assert (again.status, again.content) == (first.status, first.content)
        assert (first.headers.get("Idempotency-Replayed"), again.headers["Idempotency-Replayed"]) == (None, "true")

    async def test_without_a_key_each_is_done(self, bench: Bench) -> None:
        for _ in range(2):
            await bench.api.send("POST", "v1/mine", {"number": 7})
        assert bench.calls == 2

    async def test_another_request_is_refused(self, bench: Bench, account: str) -> None:
        await bench.api.send("POST", f"v1/accounts/{account}", {"number": 7}, headers=self.KEY)
        for path, body in ((f"v1/accounts/{account}", {"number": 8}), (f"v1/accounts/{account}/groups/{GROUP}", None)):
            response = await bench.api.send("POST", path, body or {"number": 7}, headers=self.KEY)
            assert (response.status, response.code) == (422, "idempotency_key_reused")

    async def test_a_refusal_is_an_answer_too(self, bench: Bench, account: str) -> None:
        bench.error = ConflictError("Taken.", code="already_exists")
        for _ in range(2):
            response = await bench.api.send("POST", f"v1/accounts/{account}", {"number": 7}, headers=self.KEY)
            assert (response.status, response.code) == (409, "already_exists")
        assert bench.calls == 1

    @pytest.mark.parametrize("error", [RuntimeError("x"), VaultUnavailableError("x")])
    async def test_our_own_failures_are_not_kept(self, bench: Bench, account: str, error: Exception) -> None:
        bench.error = error
        failed = await bench.api.send("POST", f"v1/accounts/{account}", {"number": 7}, headers=self.KEY)
        bench.error = None
        repeated = await bench.api.send("POST", f"v1/accounts/{account}", {"number": 7}, headers=self.KEY)
        assert (failed.status >= 500, repeated.status) == (True, 200)

    async def test_at_the_same_time_one_waits(self, bench: Bench, account: str) -> None:
        bench.gate.clear()
        path = f"v1/accounts/{account}"
        first = asyncio.create_task(bench.api.send("POST", path, {"number": 7}, headers=self.KEY))
        await bench.entered.wait()
        second = await bench.api.send("POST", path, {"number": 7}, headers=self.KEY)
        bench.gate.set()
        assert (second.status, second.code) == (409, "idempotency_in_progress")
        assert int(second.headers["Retry-After"]) >= 1
        assert (await first).status == 200

    @pytest.mark.parametrize("key", ["", " ", "x" * 129, "é", "a b"])
    async def test_a_key_is_visible_ascii(self, bench: Bench, key: str) -> None:
        response = await bench.api.send("POST", "v1/mine", {"number": 7}, headers={"idempotency-key": key})
        assert (response.status, response.json["field"]) == (400, "Idempotency-Key")

    async def test_keys_of_two_callers_are_two(self, bench: Bench) -> None:
        for caller in (ROOT, ALICE):
            response = await bench.api.calling(caller).send("POST", "v1/mine", {"number": 7}, headers=self.KEY)
            assert response.status == 200
        assert bench.calls == 2


class TestRequestIds:
    """What names a request, so that work left unfinished is known again."""

    async def send(self, bench: Bench, path: str, *, by: Caller = ROOT, key: str | None = "1", number: int = 7) -> str:
        headers = {} if key is None else {"idempotency-key": key}
        before = bench.calls
        await bench.api.calling(by).send("POST", path, {"number": number}, headers=headers)
        assert bench.calls == before + 1
        assert is_id(bench.request_ids[-1], IdKind.INTENT)
        return bench.request_ids[-1]

    async def test_a_repetition_after_a_failure_has_the_same(self, bench: Bench, account: str) -> None:
        bench.error = VaultUnavailableError("x")
        first = await self.send(bench, f"v1/accounts/{account}")
        assert await self.send(bench, f"v1/accounts/{account}") == first

    async def test_a_caller_an_account_and_a_key_tell_requests_apart(self, bench: Bench, account: str) -> None:
        other = await bench.premises.office.an_account()
        bench.error = VaultUnavailableError("x")
        ids = [
            await self.send(bench, "v1/mine"),
            await self.send(bench, "v1/mine", by=ALICE),
            await self.send(bench, "v1/mine", key="2"),
            await self.send(bench, f"v1/accounts/{account}"),
            await self.send(bench, f"v1/accounts/{other}"),
        ]
        assert len(set(ids)) == 5

    async def test_what_is_asked_gives_no_part_of_it_away(self, bench: Bench) -> None:
        bench.error = VaultUnavailableError("x")
        first = await self.send(bench, "v1/mine", number=7)
        bench.premises.office.clock.move(KEPT_FOR)
        assert await self.send(bench, "v1/mine", number=7) != first

    async def test_after_a_failure_another_request_may_not_have_the_key(self, bench: Bench) -> None:
        bench.error = VaultUnavailableError("x")
        await self.send(bench, "v1/mine", number=7)
        response = await bench.api.send("POST", "v1/mine", {"number": 8}, headers={"idempotency-key": "1"})
        assert (response.status, response.code) == (422, "idempotency_key_reused")

    async def test_without_a_key_each_has_its_own(self, bench: Bench) -> None:
        assert await self.send(bench, "v1/mine", key=None) != await self.send(bench, "v1/mine", key=None)


class TestAnswersThatAreNotKept:
    """Exports: nothing of them stays, and nobody believes that a repetition is harmless."""

    async def test_a_key_is_refused_before_anything_is_done(self, bench: Bench, account: str) -> None:
        path = f"v1/accounts/{account}/export"
        response = await bench.api.send("POST", path, {"number": 7}, headers={"idempotency-key": "4711"})
        assert (response.status, response.code) == (400, "idempotency_not_offered")
        assert response.json["field"] == "Idempotency-Key"
        assert bench.calls == 0

    async def test_each_is_done_and_nothing_is_stored(self, bench: Bench, account: str) -> None:
        for _ in range(2):
            assert (await bench.api.send("POST", f"v1/accounts/{account}/export", {"number": 7})).status == 200
        assert (bench.calls, bench.premises.idempotency_rows._rows) == (2, {})


async def test_a_public_operation_opens_nothing() -> None:
    async def unopened() -> App:
        raise AssertionError("a public operation needs no services")

    api = Premises().api()
    api._pipeline._app = unopened
    response = await api.calling().send("GET", "v1/health")
    assert (response.status, json.loads(response.content)) == (200, {"status": "ok"})
