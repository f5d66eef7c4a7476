"""Writes that are asked twice and done once.

Invariants:
- The row is there before the work begins, so of two requests with one key at most one works at a time.
- What is stored is sealed, because an answer may hold an API key that is shown once, and a request's fingerprint may
  give a guessable secret away. Requests outside of any account (their answers hold no secret) are stored as they are.
- An entry in the expiry trees is written before the row that it names, so that no row is kept for ever.
"""

import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from core.domain.idempotency import KEPT_FOR, PENDING_FOR, IdempotentRequest, Verdict, verdict
from core.domain.identifiers import IdKind, new_id
from core.domain.sealing import IDEMPOTENT_ANSWER
from core.domain.secrets import SecretBytes
from core.errors import AlreadyExistsError, ConflictError, PolicyViolationError, StaleWriteError
from core.ports import Binding, Clock, Collection, OrderedIndex, Sealer, Stored

_PLATFORM = "platform"
_PAGE = 100
# Writers of one moment would all meet in the last leaf of a single tree.
_SHARDS = "0123456789abcdef"


class IdempotencyInProgressError(ConflictError):
    """The same request is being worked on; ask again after `retry_after`."""

    default_code = "idempotency_in_progress"

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__("A request with this idempotency key is being worked on.")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose key it is: a caller's, within an account or (None) on the platform."""

    principal: str
    account: str | None
    key: str

    @property
    def partition(self) -> str:
        """The row's partition."""
        return self.account or _PLATFORM

    @property
    def id(self) -> str:
        """The row's id, hex."""
        return hashlib.sha256(f"{self.principal}\x1f{self.key}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Attempt:
    """The right to do the work, or (`replay`) the answer that was given before."""

    scope: Scope
    stored: Stored[IdempotentRequest]
    replay: SecretBytes | None = None

    @property
    def request(self) -> str:
        """The request's name, the same for every attempt."""
        return self.stored.value.request


class Idempotency:
    """Admits a request once per key, and remembers its answer for a day."""

    def __init__(
        self, requests: Collection[IdempotentRequest], index: OrderedIndex, sealer: Sealer, clock: Clock
    ) -> None:
        self._requests = requests
        self._index = index
        self._sealer = sealer
        self._clock = clock

    async def begin(self, scope: Scope, fingerprint: str) -> Attempt:
        """Admit a request, or return the answer of the same one before.

        PolicyViolationError `idempotency_key_reused` if the key stands for another request, IdempotencyInProgressError
        if another attempt of this one is at work.
        """
        request = await self._pending(scope, fingerprint)
        await self._index.apply(_tree(request.id), {_position(request): _entry(request)})
        try:
            return Attempt(scope, await self._requests.insert(request.partition, request.id, request))
        except AlreadyExistsError:
            return await self._join(scope, fingerprint, request)

    async def finish(self, attempt: Attempt, answer: SecretBytes) -> None:
        """Remember the answer of an admitted request. StaleWriteError if another attempt took over meanwhile."""
        request = attempt.stored.value.answered(await self._close(attempt.scope, "answer", answer))
        await self._requests.replace(request.partition, request.id, request, attempt.stored.etag)

    async def abandon(self, attempt: Attempt) -> None:
        """Let an admitted request that failed for reasons of ours be made again at once, as the same request."""
        request = attempt.stored.value.given_up(self._clock.now())
        await self._requests.replace(request.partition, request.id, request, attempt.stored.etag)

    async def expire(self) -> int:
        """Delete what is older than a day; return how many rows. The cost is that of what expired."""
        now = self._clock.now()
        return sum([await self._expire_shard(f"idempotency:expiry/{shard}", now) for shard in _SHARDS])

    async def _pending(self, scope: Scope, fingerprint: str) -> IdempotentRequest:
        now = self._clock.now()
        return IdempotentRequest(
            id=scope.id,
            partition=scope.partition,
            fingerprint=await self._close(scope, "request", SecretBytes(fingerprint.encode())),
            pending_until=now + PENDING_FOR,
            expires_on=now + KEPT_FOR,
            request=new_id(IdKind.INTENT),
        )

    async def _join(self, scope: Scope, fingerprint: str, request: IdempotentRequest) -> Attempt:
        found = await self._requests.get(scope.partition, scope.id)
        if found is None:
            raise IdempotencyInProgressError(timedelta(seconds=1))
        recorded = await self._open(scope, "request", found.value.fingerprint)
        same = hmac.compare_digest(recorded.reveal(), fingerprint.encode())
        now = self._clock.now()
        match verdict(found.value, same=same, now=now):
            case Verdict.REFUSE:
                detail = "This idempotency key was used for another request."
                raise PolicyViolationError(detail, code="idempotency_key_reused", field="Idempotency-Key")
            case Verdict.WAIT:
                raise IdempotencyInProgressError(min(found.value.pending_until - now, timedelta(seconds=5)))
            case Verdict.START_ANEW:
                return await self._take_over(scope, request, found.etag)
            case Verdict.TAKE_OVER:
                return await self._take_over(scope, replace(request, request=found.value.request), found.etag)
            case Verdict.REPLAY:
                return Attempt(scope, found, await self._open(scope, "answer", found.value.answer or ""))

    async def _take_over(self, scope: Scope, request: IdempotentRequest, etag: str) -> Attempt:
        try:
            return Attempt(scope, await self._requests.replace(request.partition, request.id, request, etag))
        except StaleWriteError:
            raise IdempotencyInProgressError(timedelta(seconds=1)) from None

    async def _expire_shard(self, tree: str, now: datetime) -> int:
        expired = 0
        while True:
            page = await self._index.page(tree, limit=_PAGE)
            due = {position: entry for position, entry in page.entries if position <= _moment(now)}
            for entry in due.values():
                expired += await self._expire_row(str(entry["partition"]), str(entry["id"]), now)
            if due:
                await self._index.apply(tree, dict.fromkeys(due))
            if len(due) < _PAGE:
                return expired

    async def _expire_row(self, partition: str, id_: str, now: datetime) -> bool:
        found = await self._requests.get(partition, id_)
        # A request that was taken over has a younger entry of its own.
        if found is None or now < found.value.expires_on:
            return False
        with suppress(StaleWriteError):
            await self._requests.delete(partition, id_, found.etag)
        return True

    async def _close(self, scope: Scope, part: str, content: SecretBytes) -> str:
        if scope.account is None:
            return content.decode().reveal()
        return await self._sealer.seal(_binding(scope.account, scope.id, part), content)

    async def _open(self, scope: Scope, part: str, stored: str) -> SecretBytes:
        if scope.account is None:
            return SecretBytes(stored.encode())
        return await self._sealer.open(_binding(scope.account, scope.id, part), stored)


def _binding(account: str, id_: str, part: str) -> Binding:
    return Binding(account, IDEMPOTENT_ANSWER, id_, part)


def _tree(id_: str) -> str:
    return f"idempotency:expiry/{id_[0]}"


def _moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S")


def _position(request: IdempotentRequest) -> str:
    return f"{_moment(request.expires_on)}/{request.id}"


def _entry(request: IdempotentRequest) -> dict[str, object]:
    return {"partition": request.partition, "id": request.id}
