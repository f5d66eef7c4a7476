"""Data keys in use: made once for an account, unwrapped by the platform vault, held in memory for a bounded time.

Invariants: a data key that was just made is not put into the cache, so that the first use proves that what was
stored can be unwrapped; concurrent needs of one data key cost one unwrapping.
"""

import secrets
from datetime import timedelta

from joserfc.jwk import OctKey

from core.domain.data_keys import DATA_KEY_BYTES, WrappedDataKey, data_key_unavailable, encoded
from core.domain.identifiers import IdKind, is_id, new_id
from core.domain.secrets import SecretBytes
from core.ports import Clock, DataKeyRecords, SealingKey
from core.timed_cache import TimedCache

_LIFETIME = timedelta(minutes=10)
_LIMIT = 1_000


class CachedDataKeys:
    """The data keys of all accounts, by account and id."""

    def __init__(self, records: DataKeyRecords, sealing_key: SealingKey, clock: Clock) -> None:
        self._records = records
        self._sealing_key = sealing_key
        self._clock = clock
        self._unwrapped: TimedCache[tuple[str, str], OctKey] = TimedCache(clock, _LIFETIME, _LIMIT)

    async def create(self, account: str) -> str:
        """Make a data key for `account`, store it wrapped, and return its id."""
        sealing_key = await self._sealing_key.newest()
        data_key = SecretBytes(secrets.token_bytes(DATA_KEY_BYTES))
        wrapped_key = await self._sealing_key.wrap(sealing_key, data_key)
        id_ = new_id(IdKind.DATA_KEY)
        await self._records.create(
            WrappedDataKey(id_, account, encoded(wrapped_key), sealing_key, created_on=self._clock.now())
        )
        return id_

    async def unwrapped(self, account: str, id_: str) -> OctKey:
        """Return the key itself, for the sealer alone; IntegrityError `data_key_unavailable`."""
        # The id comes out of a stored object and goes into a blob's name.
        if not is_id(id_, IdKind.DATA_KEY):
            raise data_key_unavailable()
        return await self._unwrapped.get((account, id_), lambda: self._unwrap(account, id_))

    async def _unwrap(self, account: str, id_: str) -> OctKey:
        record = (await self._records.read(account, id_)).value
        data_key = await self._sealing_key.unwrap(record.sealing_key, record.wrapped_bytes)
        if len(data_key.reveal()) != DATA_KEY_BYTES:
            raise data_key_unavailable(id_)
        return OctKey.import_key(data_key.reveal())
