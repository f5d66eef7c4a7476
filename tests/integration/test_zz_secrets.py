"""After all other tests: no table, blob, queue or log of the stack holds a secret in the open."""

import re
import uuid
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest_asyncio
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue import TextBase64EncodePolicy
from azure.storage.queue.aio import QueueServiceClient

from local.stack import IdentityCredential, Stack
from tests.builders.azure import an_identity, der_base64
from tests.integration.estate import Estate, Site
from tests.integration.ledger import Ledger
from tests.integration.material import PASSPHRASE
from tests.integration.material_flows import every_flow
from tests.integration.test_sealing import custody, opened_by_hand

PLANTED = "planted"
PLACES = {"table planted", "container planted", "queue planted", "log planted.log"}
#: What gives itself away by its form, written down or not.
FORMS = {
    "a signed token": re.compile(rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}"),
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a private JWK": re.compile(rb'"(?:d|dp|dq|qi)"\s*:\s*"[\w-]{22,}"'),
    "an API key": re.compile(rb"ks_[a-z2-7]{24}_[\w-]{43}"),
}

type Content = AsyncIterator[tuple[str, bytes]]


def _decompressed(content: bytes) -> bytes:
    """Return a record's JSON; a row that another test damaged is searched as it is."""
    try:
        return zlib.decompress(content)
    except zlib.error:
        return content


class Stores:
    """The storage account of the stack, as its owner sees it by the official SDKs."""

    def __init__(self, stack: Stack) -> None:
        options: dict[str, Any] = {"connection_verify": str(stack.ca_file)}
        uris = {
            kind: stack.app_settings[f"AzureWebJobsStorage__{kind}ServiceUri"] for kind in ("table", "blob", "queue")
        }
        credential: Any = IdentityCredential(stack.endpoints)
        self.tables = TableServiceClient(uris["table"], credential=credential, **options)
        self.blobs = BlobServiceClient(uris["blob"], credential, **options)
        self.queues = QueueServiceClient(uris["queue"], credential, **options)
        self.logs = stack.logs_dir

    async def content(self) -> Content:
        """Yield everything that is stored or logged, with its place."""
        for read in (self._rows, self._blobs, self._messages, self._logs):
            async for place, content in read():
                yield place, content

    async def _rows(self) -> Content:
        async for table in self.tables.list_tables():
            async for entity in self.tables.get_table_client(table.name).list_entities():
                chunks = [entity[f"d{number}"] for number in range(len(entity)) if f"d{number}" in entity]
                record = _decompressed(b"".join(chunks))
                shown = {name: value for name, value in entity.items() if value not in chunks}
                yield f"table {table.name}", f"{shown}".encode() + record

    async def _blobs(self) -> Content:
        async for container in self.blobs.list_containers():
            client = self.blobs.get_container_client(container.name)
            async for name in client.list_blob_names():
                content = await (await client.download_blob(name)).readall()
                yield f"container {container.name}", name.encode() + b"\n" + content

    async def _messages(self) -> Content:
        async for queue in self.queues.list_queues():
            client = self.queues.get_queue_client(queue.name)
            for message in await client.peek_messages(max_messages=32):
                yield f"queue {queue.name}", message.content.encode()

    async def _logs(self) -> Content:
        for file in sorted(self.logs.iterdir()):
            yield f"log {file.name}", file.read_bytes()


@asynccontextmanager
async def opened(stack: Stack) -> AsyncIterator[Stores]:
    stores = Stores(stack)
    async with stores.tables, stores.blobs, stores.queues:
        yield stores


async def use_secrets_of_every_kind(estate: Estate) -> None:
    """Leave the traces of each secret that Keysteward keeps, or that passes through it."""
    azure, ledger = estate.azure, estate.site.ledger
    held = await custody(estate)
    await opened_by_hand(estate, held.key)
    await (await estate.application({held.group: "application"})).get("keys")

    pem, certificate = an_identity()
    application = await azure.new_application(with_secret=False, certificates=[der_base64(certificate)])
    password = ledger.add("proxy password", "of-the-proxy-" + uuid.uuid4().hex)
    proxy = await azure.control.post("listeners", {"kind": "proxy", "username": "keysteward", "password": password})
    arm = await azure.control.post("listeners", {"kind": "client_certificate", "target": "arm"})
    tls = ledger.add_pem("TLS client key", arm["client_certificate_pem"] + arm["client_key_pem"])
    connection = azure.connection(
        cloud=azure.cloud(resource_manager=arm["url"]),
        client_id=application["client_id"],
        credential={"kind": "client_certificate", "certificate_pem": ledger.add_pem("client certificate", pem)},
        tls={"client_certificate_pem": tls},
        proxy={"url": proxy["url"], "username": "keysteward", "password": password},
    )
    assert (await estate.group(connection=connection))["connection_state"] == "connected"
    # The tests of material have left traces enough, if they ran.
    if not ledger.knows(PASSPHRASE):
        await every_flow(await estate.site.estate())


async def plant(stores: Stores, secret: str) -> None:
    """Hide a secret in every kind of place, as it could come there: in compressed rows, in base64, in a line."""
    table = await stores.tables.create_table(PLANTED)
    await table.create_entity({"PartitionKey": "p", "RowKey": "r", "d0": zlib.compress(f"[{secret}]".encode())})
    container = await stores.blobs.create_container(PLANTED)
    await container.upload_blob("b", b'{"nested": {"secret": "%s"}}' % secret.encode())
    queue = await stores.queues.create_queue(PLANTED)
    await queue.send_message(TextBase64EncodePolicy().encode(f'{{"s": "{secret}"}}'))
    (stores.logs / f"{PLANTED}.log").write_text(f"INFO the secret is {secret}\n")


async def dig_up(stores: Stores) -> None:
    await stores.tables.delete_table(PLANTED)
    await stores.blobs.delete_container(PLANTED)
    await stores.queues.delete_queue(PLANTED)
    (stores.logs / f"{PLANTED}.log").unlink()


@pytest_asyncio.fixture(scope="module")
async def found(site: Site, ledger: Ledger) -> set[tuple[str, str]]:
    """What a scan of everything finds, and where; a planted secret is among it."""
    await use_secrets_of_every_kind(await site.estate())
    secret = ledger.add(PLANTED, uuid.uuid4().hex)
    async with opened(site.stack) as stores:
        await plant(stores, secret)
        seen: set[tuple[str, str]] = set()
        async for place, content in stores.content():
            seen |= {(place, what) for what in ledger.found_in(content)}
            seen |= {(place, what) for what, form in FORMS.items() if form.search(content)}
        await dig_up(stores)
    return seen


def test_a_planted_secret_is_found_in_every_kind_of_place(found: set[tuple[str, str]]) -> None:
    assert {place for place, what in found if what == PLANTED} == PLACES


def test_no_other_secret_is_found_anywhere(found: set[tuple[str, str]]) -> None:
    assert {(place, what) for place, what in found if what != PLANTED} == set()
