"""Sends requests to one vault through the SDK's key client, each in its turn, and reads what came of them.

Requests go out by `KeyClient.send_request`: authentication, retries and transport are the SDK's, while answers are read
by `key_answers`, which refuses what the SDK's models would paper over and costs half their time.

Invariants: a body is revealed here alone, and never follows a redirect; what is sent once ends in success, in an error
that says that nothing was done, or in VaultOutcomeUnknownError.
"""

from collections.abc import Callable
from typing import Any

from azure.core.exceptions import DecodeError
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.keyvault.keys.aio import KeyClient

from core.adapters.azure import key_answers
from core.adapters.azure.failures import CALL_ERRORS, Failure, failure_of
from core.adapters.azure.key_requests import VaultRequest
from core.adapters.azure.rate_limit import Turn, VaultPacer, paced
from core.adapters.azure.refusals import error_of, outcome_unknown, refusal_in
from core.adapters.azure.retries import REPEATABLE, Sending, sent_once
from core.adapters.azure.spans import vault_call
from core.domain.connections import ConnectionCause, VaultFacts
from core.domain.rate_limits import VaultOperation
from core.errors import KeystewardError, VaultAnswerError

_DONE = frozenset({200, 204})
_JSON = {"Content-Type": "application/json"}


class VaultRequests:
    """The way to one vault or managed HSM."""

    def __init__(self, client: KeyClient, vault: VaultFacts, pacer: VaultPacer) -> None:
        self._client = client
        self._vault = vault
        self._pacer = pacer

    @property
    def vault(self) -> VaultFacts:
        """Where the requests go."""
        return self._vault

    async def send[T](self, request: VaultRequest, read: Callable[[bytes], T], cost: int = 1) -> T:
        """Send, and return what `read` finds in the answer's body; the errors of `ports.VaultKeys`."""
        with vault_call(self._vault.uri, request.operation):
            sending = Sending()
            try:
                response = await self._response(request, Turn(request.operation, cost, request.key_type), sending)
            except (*CALL_ERRORS, RecursionError) as error:
                raise _failure(request, error, sending) from None
            if response.status_code not in _DONE:
                raise error_of(refusal_in(response), request, self._vault)
            return _read(request, response.content, read)

    def charge(self, operation: VaultOperation, units: int) -> None:
        """Count units that an answer showed a request to have cost beyond what was asked for."""
        self._pacer.charge(Turn(operation, units))

    async def _response(self, request: VaultRequest, turn: Turn, sending: Sending) -> AsyncHttpResponse:
        body = None if request.body is None else request.body.reveal()
        options: dict[str, Any] = {**paced(turn), **(sent_once(sending) if request.once else REPEATABLE)}
        try:
            return await self._client.send_request(
                HttpRequest(request.method, request.path, content=body, headers=None if body is None else _JSON),
                permit_redirects=not request.changes,
                **options,
            )
        except DecodeError as error:
            # The body is no JSON. Its status still tells, and whatever reads the body will say what is wrong with it.
            if not isinstance(error.response, AsyncHttpResponse):
                raise
            return error.response


def _failure(request: VaultRequest, error: Exception, sending: Sending) -> KeystewardError:
    if sending.outstanding:
        return outcome_unknown(request, failure_of(error), answered=False)
    if isinstance(error, DecodeError | RecursionError):
        return key_answers.not_json()
    return failure_of(error).error()


def _read[T](request: VaultRequest, content: bytes, read: Callable[[bytes], T]) -> T:
    try:
        return read(content)
    except VaultAnswerError:
        if request.once:
            # An answer that nobody can read is as good as none.
            raise outcome_unknown(request, Failure(ConnectionCause.SERVICE_FAILED), answered=True) from None
        raise
