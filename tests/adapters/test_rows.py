"""What a row holds and what it does not."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.adapters.rows import CHUNK_BYTES, MAX_CHUNKS, SCHEMA, pack, plain_key, row_key, unpack
from core.errors import IntegrityError, PolicyViolationError


@given(st.binary(max_size=1000))
def test_unpacks_what_was_packed(content: bytes) -> None:
    assert unpack(pack("p", "r", content)) == content


@pytest.mark.parametrize("size", [0, CHUNK_BYTES - 100, CHUNK_BYTES + 100, 300_000])
def test_divides_content_among_properties(size: int) -> None:
    row = pack("p", "r", os.urandom(size))
    chunks = [value for name, value in row.items() if name.startswith("d")]
    assert len(chunks) == max(1, -(-(size + 20) // CHUNK_BYTES))
    assert all(0 < len(chunk) <= CHUNK_BYTES for chunk in chunks)


def test_refuses_more_than_a_row_holds() -> None:
    limit = CHUNK_BYTES * MAX_CHUNKS
    pack("p", "r", os.urandom(limit - 1000))
    with pytest.raises(PolicyViolationError) as refusal:
        pack("p", "r", os.urandom(limit + 1))
    assert refusal.value.code == "record_too_large"
    assert refusal.value.facts["limit"] == limit


@pytest.mark.parametrize(
    "damage",
    [
        {"d0": b""},
        {"d0": b"something else"},
        {"d1": None},
        {"d0": "text"},
        {"schema": SCHEMA + 1},
        {"schema": None},
    ],
)
def test_says_that_a_row_is_damaged(damage: dict[str, object]) -> None:
    row = pack("p", "r", os.urandom(100_000))
    with pytest.raises(IntegrityError) as failure:
        unpack(row | damage)
    assert failure.value.code == "record_unreadable"


def test_notices_any_changed_byte() -> None:
    content = os.urandom(50)
    row = pack("p", "r", content)
    packed = row["d0"]
    for index in range(len(packed)):
        changed = packed[:index] + bytes([packed[index] ^ 0x01]) + packed[index + 1 :]
        try:
            assert unpack(row | {"d0": changed}) == content
        except IntegrityError:
            continue


def test_leaves_plain_ids_as_they_are() -> None:
    assert row_key("grp_abcdefghijklmnopqrstuvwx") == "grp_abcdefghijklmnopqrstuvwx"
    assert row_key("a.b-c_D9") == "a.b-c_D9"


@given(st.text(max_size=20), st.text(max_size=20))
def test_keys_are_safe_and_reversible(one: str, other: str) -> None:
    key = row_key(one)
    assert plain_key(key) == one
    assert all(character.isascii() and (character.isalnum() or character in "_.-~") for character in key)
    assert (key == row_key(other)) == (one == other)
