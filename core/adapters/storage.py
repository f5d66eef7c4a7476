"""The app's own storage account: one client a service, and the places in it that the app uses.

Invariants: clients are made once for the process and share one HTTP session, which belongs to who opened it; what is
missing is created, and what is there is left as it is.
"""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import aiohttp
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ResourceExistsError
from azure.data.tables.aio import TableClient, TableServiceClient
from azure.storage.blob.aio import BlobServiceClient, ContainerClient
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from core.adapters.azure.transports import transport
from core.adapters.storage_errors import storage_errors
from core.concurrency import each
from core.settings import Settings

TABLES = (
    "accounts", "principals", "identities", "apikeys", "groups", "keys",
    "jobs", "idempotency", "names", "locks", "trees", "sourcekeys", "materials", "intents", "exchangekeys",
)  # fmt: skip
CONTAINERS = ("escrow", "sealing")
JOB_QUEUE = "jobs"

# A caller waits: the SDK's own waits (15 s and more between attempts) would outlast an HTTP request.
_RETRIES = 4
_LONGEST_WAIT = 8
_BACKOFF: Mapping[str, Any] = MappingProxyType(
    {"retry_total": _RETRIES, "initial_backoff": 1, "increment_base": 2, "random_jitter_range": 1}
)
_CONCURRENT = 8


class Storage:
    """Clients of the Table, Blob and Queue services that the settings name."""

    def __init__(self, settings: Settings, credential: AsyncTokenCredential, session: aiohttp.ClientSession) -> None:
        self._tables = TableServiceClient(
            settings.table_service,
            credential=credential,
            transport=transport(session),
            retry_total=_RETRIES,
            retry_backoff_max=_LONGEST_WAIT,
        )
        self._blobs = BlobServiceClient(
            settings.blob_service,
            credential=credential,
            transport=transport(session),
            **_BACKOFF,
        )
        self._queues = QueueServiceClient(
            settings.queue_service,
            credential=credential,
            transport=transport(session),
            **_BACKOFF,
        )

    def table(self, name: str) -> TableClient:
        """Return the client of one of `TABLES`; keep it."""
        return self._tables.get_table_client(name)

    def container(self, name: str) -> ContainerClient:
        """Return the client of one of `CONTAINERS`; keep it."""
        return self._blobs.get_container_client(name)

    def queue(self, name: str) -> QueueClient:
        """Return the client of a queue; keep it."""
        return self._queues.get_queue_client(name)

    async def create_missing(self) -> None:
        """Create what is missing: three requests where nothing is."""
        with storage_errors("The storage account"):
            await each(
                lambda create: create(), [self._create_tables, self._create_containers, self._create_queue], at_most=3
            )

    async def close(self) -> None:
        """Close the clients; the session stays open."""
        for client in (self._tables, self._blobs, self._queues):
            await client.close()

    async def _create_tables(self) -> None:
        present = {table.name async for table in self._tables.list_tables()}
        missing = [name for name in TABLES if name not in present]
        await each(self._tables.create_table_if_not_exists, missing, at_most=_CONCURRENT)

    async def _create_containers(self) -> None:
        present = {container.name async for container in self._blobs.list_containers()}
        await each(self._create_container, [name for name in CONTAINERS if name not in present], at_most=_CONCURRENT)

    async def _create_container(self, name: str) -> None:
        with suppress(ResourceExistsError):
            await self._blobs.create_container(name)

    async def _create_queue(self) -> None:
        with suppress(ResourceExistsError):
            await self._queues.create_queue(JOB_QUEUE)
