"""Wrapped data keys as small JSON blobs, `{account}/{data key id}.json`.

Invariant: a record is believed only under the name that it says it has.
"""

from collections.abc import AsyncIterator

from pydantic import TypeAdapter, ValidationError

from core.domain.data_keys import DATA_KEY_SCHEMA, WRAPPING_ALGORITHM, WrappedDataKey, data_key_unavailable
from core.errors import NotFoundError
from core.ports import Blobs, Stored

_RECORD = TypeAdapter(WrappedDataKey)
_SUFFIX = ".json"


class BlobDataKeyRecords:
    """Data key records in one container, apart from the tables so that escrow outlives their loss."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def create(self, record: WrappedDataKey) -> None:
        """Store a new record; AlreadyExistsError."""
        await self._blobs.create(_name(record.account, record.id), _RECORD.dump_json(record))

    async def read(self, account: str, id_: str) -> Stored[WrappedDataKey]:
        """Return the record, or IntegrityError `data_key_unavailable`."""
        try:
            content, etag = await self._blobs.read(_name(account, id_))
            record = _RECORD.validate_json(content)
        except (NotFoundError, ValidationError) as error:
            raise data_key_unavailable(id_) from error
        expected = (account, id_, DATA_KEY_SCHEMA, WRAPPING_ALGORITHM)
        if (record.account, record.id, record.schema, record.algorithm) != expected:
            raise data_key_unavailable(id_)
        return Stored(record, etag)

    async def replace(self, record: WrappedDataKey, etag: str) -> None:
        """Store over the record that was read with `etag`; StaleWriteError."""
        await self._blobs.replace(_name(record.account, record.id), _RECORD.dump_json(record), etag)

    async def references(self) -> AsyncIterator[tuple[str, str]]:
        """Yield (account, data key id) of every record."""
        async for name in self._blobs.names(""):
            account, _, file = name.partition("/")
            if file.endswith(_SUFFIX):
                yield account, file.removesuffix(_SUFFIX)


def _name(account: str, id_: str) -> str:
    return f"{account}/{id_}{_SUFFIX}"
