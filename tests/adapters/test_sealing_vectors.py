"""What was once sealed opens for ever: these files must never change, only grow."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from core.adapters.data_key_records import BlobDataKeyRecords
from core.adapters.sealing import JweSealer
from core.domain.data_keys import WrappedDataKey, encoded
from core.domain.secrets import SecretBytes
from core.errors import IntegrityError
from core.ports import Binding
from tests.fakes.clock import SteppedClock
from tests.fakes.sealing import sealing
from tests.fakes.storage import MemoryBlobs, MemoryCollection

VECTORS = Path(__file__).parent.parent / "vectors"
SEALED: dict[str, Any] = json.loads((VECTORS / "sealed_objects.json").read_text())
RECORD = (VECTORS / "data_key_record.json").read_bytes().strip()
RECORD_NAME = "acc_aaaaaaaaaaaaaaaaaaaaaaaa/dek_aaaqeayeaudaocajbifqydio.json"


async def pinned_sealer() -> JweSealer:
    """A sealer whose storage holds the pinned data key, wrapped by a key of this test."""
    made = sealing(SteppedClock())
    newest = await made.sealing_key.newest()
    wrapped = await made.sealing_key.wrap(newest, SecretBytes(base64.b64decode(SEALED["data_key"])))
    record = WrappedDataKey(
        SEALED["data_key_id"],
        SEALED["account"],
        encoded(wrapped),
        newest,
        made.clock.now(),
    )
    await made.records.create(record)
    return JweSealer(made.data_keys, MemoryCollection(), made.clock)


@pytest.mark.parametrize("vector", SEALED["objects"], ids=lambda vector: vector["purpose"])
async def test_pinned_objects_open(vector: dict[str, str]) -> None:
    sealer = await pinned_sealer()
    binding = Binding(SEALED["account"], vector["purpose"], vector["object_id"], vector["version"])
    assert (await sealer.open(binding, vector["sealed"])).reveal() == base64.b64decode(vector["content"])


async def test_the_pinned_record_is_read_and_written_as_it_is() -> None:
    blobs = MemoryBlobs()
    await blobs.create(RECORD_NAME, RECORD)
    records = BlobDataKeyRecords(blobs)
    stored = await records.read("acc_aaaaaaaaaaaaaaaaaaaaaaaa", "dek_aaaqeayeaudaocajbifqydio")
    assert stored.value.wrapped_bytes == bytes([0, 1, 2, 3, 4, 255, 250])
    await records.replace(stored.value, stored.etag)
    assert (await blobs.read(RECORD_NAME))[0] == RECORD
    assert [reference async for reference in records.references()] == [
        ("acc_aaaaaaaaaaaaaaaaaaaaaaaa", "dek_aaaqeayeaudaocajbifqydio")
    ]


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"dek_aaaqeayeaudaocajbifqydio", b"dek_bbbqeayeaudaocajbifqydio"),
        (b"acc_aaaa", b"acc_bbbb"),
        (b"RSA-OAEP-256", b"RSA-OAEP"),
        (b'"schema":1', b'"schema":2'),
        (b'"schema":1', b'"schema":'),
    ],
)
async def test_a_record_that_says_something_else_is_refused(good: bytes, bad: bytes) -> None:
    blobs = MemoryBlobs()
    await blobs.create(RECORD_NAME, RECORD.replace(good, bad))
    with pytest.raises(IntegrityError) as refused:
        await BlobDataKeyRecords(blobs).read("acc_aaaaaaaaaaaaaaaaaaaaaaaa", "dek_aaaqeayeaudaocajbifqydio")
    assert refused.value.code == "data_key_unavailable"
