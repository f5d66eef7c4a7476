"""One container of Blob Storage.

Invariant: a blob is written only under a free name, or over the very blob that was read.
"""

from collections.abc import AsyncIterator

from azure.core import MatchConditions
from azure.storage.blob.aio import ContainerClient

from core.adapters.storage_errors import storage_errors
from core.errors import IntegrityError, NotFoundError, VaultAnswerError

_WHAT = "The blob"
_RANGE_NOT_SATISFIABLE = 416


class ContainerBlobs:
    """Blobs of one container."""

    def __init__(self, container: ContainerClient) -> None:
        self._container = container

    async def create(self, name: str, content: bytes) -> str:
        """Store a new blob and return its ETag; AlreadyExistsError."""
        with storage_errors(_WHAT):
            answer = await self._container.get_blob_client(name).upload_blob(content, length=len(content))
        return str(answer["etag"])

    async def replace(self, name: str, content: bytes, etag: str) -> str:
        """Store over the blob read with `etag`; StaleWriteError if it changed or is gone."""
        with storage_errors(_WHAT):
            answer = await self._container.get_blob_client(name).upload_blob(
                content,
                length=len(content),
                overwrite=True,
                etag=etag,
                match_condition=MatchConditions.IfNotModified,
            )
        return str(answer["etag"])

    async def read(self, name: str, *, offset: int | None = None, length: int | None = None) -> tuple[bytes, str]:
        """Return content (or a range of it) and ETag; NotFoundError, IntegrityError if the blob ends before the range.

        Offset and length are in bytes; without a length, a range runs to the end.
        """
        try:
            with storage_errors(_WHAT):
                download = await self._container.download_blob(name, offset=offset, length=length)
                content = await download.readall()
        except VaultAnswerError as error:
            if error.facts.get("service_status") == _RANGE_NOT_SATISFIABLE:
                raise _too_short() from None
            raise
        if length is not None and len(content) != length:
            raise _too_short()
        return content, str(download.properties.etag)

    async def delete(self, name: str) -> None:
        """Delete; a blob that is gone is no error."""
        try:
            with storage_errors(_WHAT):
                await self._container.delete_blob(name)
        except NotFoundError:
            return

    async def names(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names that start with `prefix`, in order."""
        with storage_errors(_WHAT):
            async for name in self._container.list_blob_names(name_starts_with=prefix):
                yield name


def _too_short() -> IntegrityError:
    return IntegrityError("A stored blob is shorter than what was stored.", code="blob_too_short")
