"""Turns a presented API key into a caller.

Invariants: an answer tells nothing of an API key to whoever does not hold it: malformed, unknown and wrong are the
same; an API key is worth what its application's row says at most five seconds later.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from core.domain.accounts import ApiKey, Principal, PrincipalKind
from core.domain.api_key_tokens import parsed_token
from core.domain.callers import Caller, CallerKind
from core.domain.sealing import API_KEY_VERIFIER
from core.domain.secrets import SecretBytes, SecretText
from core.errors import NotAuthenticatedError
from core.ports import Binding, Clock, Collection, Sealer
from core.services.principals import Principals
from core.timed_cache import TimedCache

API_KEYS_PARTITION = "apikey"
VERIFIER_VERSION = "1"
_LIFETIME = timedelta(seconds=5)
_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    """What one presentation of an API key needs; the verifier is opened already."""

    api_key: ApiKey
    application: Principal
    verifier: SecretBytes

    def require_active(self, now: datetime) -> None:
        """Refuse what has ended; only to be told to who proved to hold the API key."""
        if self.api_key.revoked_on is not None:
            raise NotAuthenticatedError("This API key was revoked.", code="api_key_revoked")
        if not self.api_key.active_at(now):
            raise NotAuthenticatedError("This API key has expired.", code="api_key_expired")
        if self.application.disabled:
            raise NotAuthenticatedError("The application is disabled.", code="application_disabled")


class VerifyApiKey:
    """Verifies API keys."""

    def __init__(self, api_keys: Collection[ApiKey], principals: Principals, sealer: Sealer, clock: Clock) -> None:
        self._api_keys = api_keys
        self._principals = principals
        self._sealer = sealer
        self._clock = clock
        self._known: TimedCache[str, _Known] = TimedCache(clock, _LIFETIME, _LIMIT)

    async def __call__(self, presented: SecretText) -> Caller:
        """Return the application that holds `presented`.

        NotAuthenticatedError `api_key_invalid`; to who does hold it `api_key_revoked`, `api_key_expired` and
        `application_disabled` too.
        """
        token = parsed_token(presented)
        if token is None:
            raise _invalid()
        known = await self._known.get(token.id, lambda: self._read(token.id))
        if not token.proves(known.verifier):
            raise _invalid()
        known.require_active(self._clock.now())
        application = known.application
        return Caller(CallerKind.API_KEY, application.id, application.name, account=application.account)

    def forget(self, api_key: str) -> None:
        """Read `api_key` again; called after every write of it."""
        self._known.drop(lambda id_: id_ == api_key)

    async def _read(self, id_: str) -> _Known:
        stored = await self._api_keys.get(API_KEYS_PARTITION, id_)
        if stored is None:
            raise _invalid()
        api_key = stored.value
        application = await self._principals.find(api_key.account, api_key.application)
        if application is None or application.value.kind is not PrincipalKind.APPLICATION:
            raise _invalid()
        binding = Binding(api_key.account, API_KEY_VERIFIER, id_, VERIFIER_VERSION)
        return _Known(api_key, application.value, await self._sealer.open(binding, api_key.sealed_verifier))


def _invalid() -> NotAuthenticatedError:
    return NotAuthenticatedError("This is no valid API key.", code="api_key_invalid")
