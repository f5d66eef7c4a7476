"""API keys of applications: shown once, stored as a sealed verifier, rotated with overlap, revoked.

Invariants: the key itself is in the answer of `issue` and `rotate` and nowhere else; a list names an API key before
its row exists, so that no API key works which no list shows.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from core.domain.accounts import ApiKey, PrincipalKind
from core.domain.api_key_tokens import new_token
from core.domain.callers import Caller
from core.domain.identifiers import IdKind, new_id
from core.domain.permissions import Permission
from core.domain.sealing import API_KEY_VERIFIER
from core.domain.secrets import SecretText
from core.errors import ConflictError, InvalidRequestError, NotFoundError, StaleWriteError
from core.ports import Binding, Clock, Collection, OrderedIndex, Sealer, Stored
from core.services.access import Access
from core.services.conditional import require_match
from core.services.pages import Page
from core.services.principals import Principals
from core.services.verify_api_key import API_KEYS_PARTITION, VERIFIER_VERSION, VerifyApiKey

OVERLAP_LIMIT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class IssuedApiKey:
    """A new API key; `text` is shown this once."""

    api_key: Stored[ApiKey]
    text: SecretText


@dataclass(frozen=True, slots=True)
class Rotation:
    """How to rotate: how long the old API key goes on to work, and up to when the new one does."""

    overlap: timedelta
    expires_on: datetime | None = None
    if_match: str | None = None


class ApiKeys:
    """Issues, lists, rotates and revokes API keys."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is a port or a rule of its own
        self,
        access: Access,
        principals: Principals,
        api_keys: Collection[ApiKey],
        index: OrderedIndex,
        sealer: Sealer,
        verify: VerifyApiKey,
        clock: Clock,
    ) -> None:
        self._access = access
        self._principals = principals
        self._api_keys = api_keys
        self._index = index
        self._sealer = sealer
        self._verify = verify
        self._clock = clock

    async def issue(
        self, caller: Caller, account: str, application: str, expires_on: datetime | None = None
    ) -> IssuedApiKey:
        """Make an API key; it works up to `expires_on`, or until it is revoked."""
        await self._access.require(caller, account, Permission.API_KEY_WRITE)
        return await self._issue(account, application, expires_on)

    async def page(
        self, caller: Caller, account: str, application: str, *, after: str | None = None, limit: int = 100
    ) -> Page[Stored[ApiKey]]:
        """Return a page of the application's API keys by id, without the keys."""
        await self._access.require(caller, account, Permission.API_KEY_READ)
        await self._principals.get(account, application, PrincipalKind.APPLICATION)
        listed = await self._index.page(_tree(account, application), after=after, limit=limit)
        ids = [id_ for id_, _ in listed.entries]
        found = await self._api_keys.get_many(API_KEYS_PARTITION, ids)
        return Page(tuple(found[id_] for id_ in ids if id_ in found), listed.next)

    async def get(self, caller: Caller, account: str, application: str, api_key: str) -> Stored[ApiKey]:
        """Return one API key, without the key; NotFoundError `api_key_not_found`."""
        await self._access.require(caller, account, Permission.API_KEY_READ)
        return await self._stored(account, application, api_key)

    async def rotate(
        self, caller: Caller, account: str, application: str, api_key: str, rotation: Rotation
    ) -> IssuedApiKey:
        """Make a new API key; the old one works for the overlap, at most. ConflictError `api_key_not_active`."""
        await self._access.require(caller, account, Permission.API_KEY_WRITE)
        if not timedelta() <= rotation.overlap <= OVERLAP_LIMIT:
            raise InvalidRequestError(
                f"The overlap is between 0 and {OVERLAP_LIMIT.days} days.", code="overlap_invalid", field="overlap"
            )
        old = await self._stored(account, application, api_key)
        require_match(old.etag, rotation.if_match, "The API key")
        now = self._clock.now()
        if old.value.replaced_by is not None or not old.value.active_at(now):
            raise ConflictError("Only an API key that is active can be rotated.", code="api_key_not_active")
        issued = await self._issue(account, application, rotation.expires_on)
        ends = min(now + rotation.overlap, old.value.expires_on or now + rotation.overlap)
        successor = issued.api_key.value.id
        try:
            await self._replace(replace(old.value, expires_on=ends, replaced_by=successor), old.etag)
        except StaleWriteError:
            await self._api_keys.delete(API_KEYS_PARTITION, successor)
            raise
        return issued

    async def revoke(
        self, caller: Caller, account: str, application: str, api_key: str, if_match: str | None = None
    ) -> Stored[ApiKey]:
        """End an API key now; one that has been revoked stays as it is."""
        await self._access.require(caller, account, Permission.API_KEY_WRITE)
        stored = await self._stored(account, application, api_key)
        require_match(stored.etag, if_match, "The API key")
        if stored.value.revoked_on is not None:
            return stored
        return await self._replace(replace(stored.value, revoked_on=self._clock.now()), stored.etag)

    async def _issue(self, account: str, application: str, expires_on: datetime | None) -> IssuedApiKey:
        await self._principals.get(account, application, PrincipalKind.APPLICATION)
        now = self._clock.now()
        if expires_on is not None and expires_on <= now:
            raise InvalidRequestError("The expiry has passed.", code="expiry_invalid", field="expires_on")
        token = new_token(new_id(IdKind.API_KEY))
        binding = Binding(account, API_KEY_VERIFIER, token.id, VERIFIER_VERSION)
        sealed = await self._sealer.seal(binding, token.verifier)
        await self._index.apply(_tree(account, application), {token.id: {}})
        api_key = ApiKey(token.id, account, application, sealed, created_on=now, expires_on=expires_on)
        return IssuedApiKey(await self._api_keys.insert(API_KEYS_PARTITION, token.id, api_key), token.text)

    async def _stored(self, account: str, application: str, api_key: str) -> Stored[ApiKey]:
        stored = await self._api_keys.get(API_KEYS_PARTITION, api_key)
        if stored is None or (stored.value.account, stored.value.application) != (account, application):
            raise NotFoundError("There is no such API key.", code="api_key_not_found")
        return stored

    async def _replace(self, api_key: ApiKey, etag: str) -> Stored[ApiKey]:
        try:
            return await self._api_keys.replace(API_KEYS_PARTITION, api_key.id, api_key, etag)
        finally:
            self._verify.forget(api_key.id)


def _tree(account: str, application: str) -> str:
    return f"api-keys/{account}/{application}"
