"""Clients of the storage account that a connection name stands for.

Settings are the identity-based ones of the real host: `{connection}__blobServiceUri`, `__queueServiceUri`,
`__credential` (`managedidentity`) and `__clientId`. Connection strings are not supported: the product has none.
"""

from collections.abc import Mapping

from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from local.host.functions import FunctionError

HOST_CONNECTION = "AzureWebJobsStorage"
type Credential = ManagedIdentityCredential | DefaultAzureCredential


class Storage:
    """The service clients, one of each a connection, shared by all listeners."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = settings
        self._credentials: dict[str, Credential] = {}
        self._blobs: dict[str, BlobServiceClient] = {}
        self._queues: dict[str, QueueServiceClient] = {}

    def blobs(self, connection: str = HOST_CONNECTION) -> BlobServiceClient:
        """Return the blob service of a connection, or raise FunctionError."""
        if connection not in self._blobs:
            uri = self._uri(connection, "blobServiceUri")
            self._blobs[connection] = BlobServiceClient(uri, credential=self._credential(connection))
        return self._blobs[connection]

    def queues(self, connection: str) -> QueueServiceClient:
        """Return the queue service of a connection, or raise FunctionError."""
        if connection not in self._queues:
            uri = self._uri(connection, "queueServiceUri")
            self._queues[connection] = QueueServiceClient(uri, credential=self._credential(connection))
        return self._queues[connection]

    async def close(self) -> None:
        """Close every client and credential."""
        for client in (*self._blobs.values(), *self._queues.values(), *self._credentials.values()):
            await client.close()

    def _uri(self, connection: str, name: str) -> str:
        try:
            return self._settings[f"{connection}__{name}"]
        except KeyError:
            raise FunctionError(f"the app setting {connection}__{name} is missing") from None

    def _credential(self, connection: str) -> Credential:
        if connection not in self._credentials:
            client_id = self._settings.get(f"{connection}__clientId")
            if self._settings.get(f"{connection}__credential", "").lower() == "managedidentity":
                self._credentials[connection] = ManagedIdentityCredential(client_id=client_id)
            else:
                self._credentials[connection] = DefaultAzureCredential()
        return self._credentials[connection]
