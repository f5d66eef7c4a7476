"""Archives, manifests and retention."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.escrow import (
    Entry,
    Manifest,
    archive_of,
    blanked,
    bound_version,
    digest,
    read_entry,
    split_by_retention,
)
from core.domain.geographies import geography_of
from core.errors import IntegrityError
from tests.builders.keys import a_generation


def a_manifest(**changes: object) -> Manifest:
    members = {
        "generation": "esc_1", "account": "acc_1", "group": "grp_1", "key": "key_1", "azure_name": "db-key",
        "vault_id": "/subscriptions/s/resourceGroups/r/providers/Microsoft.KeyVault/vaults/v",
        "vault_uri": "https://v.vault.azure.net", "vault_type": "premium", "location": "westeurope",
        "geography": "Europe", "subscription": "s", "tenant": "t", "versions": ("1", "2"), "backup_digest": "00",
        "created_on": "2026-11-23T12:00:00+00:00", "job": "job_1",
    }  # fmt: skip
    return Manifest(**{**members, **changes})


def test_the_manifest_is_pinned() -> None:
    """Manifests are read for as long as escrow is kept: their canonical text may only grow."""
    assert a_manifest().text() == (
        '{"account":"acc_1","azure_name":"db-key","backup_digest":"00","created_on":"2026-11-23T12:00:00+00:00",'
        '"generation":"esc_1","geography":"Europe","group":"grp_1","job":"job_1","key":"key_1",'
        '"location":"westeurope","schema":1,"subscription":"s","tenant":"t","vault_id":'
        '"/subscriptions/s/resourceGroups/r/providers/Microsoft.KeyVault/vaults/v","vault_type":"premium",'
        '"vault_uri":"https://v.vault.azure.net","versions":["1","2"]}'
    )


def test_every_member_of_the_manifest_is_bound_to_the_sealed_object() -> None:
    members = json.loads(a_manifest().text())
    others = {
        bound_version(a_manifest(**{name: ("x",) if name == "versions" else 2 if name == "schema" else "x"}))
        for name in members
    }
    assert len(others) == len(members)
    assert bound_version(a_manifest()) not in others


@given(st.lists(st.text("abcdefghijklmnopqrstuvwxyz.-_", min_size=1), min_size=1, max_size=6), st.data())
def test_blanking_leaves_the_other_entries_where_they_are(sealed: list[str], data: st.DataObject) -> None:
    entries = [Entry(a_manifest(key=f"key_{n}"), text) for n, text in enumerate(sealed)]
    content, places = archive_of(entries)
    gone = data.draw(st.sets(st.integers(0, len(entries) - 1)))
    remaining = blanked(content, [places[n] for n in gone])
    if len(gone) == len(entries):
        assert remaining is None
        return
    assert remaining is not None
    for n, (offset, length) in enumerate(places):
        line = remaining[offset : offset + length]
        if n in gone:
            assert not line.strip()
        else:
            assert read_entry(line) == entries[n]


@pytest.mark.parametrize("line", [b"", b"   \n", b"{}", b"[]", b'{"manifest":{},"sealed":""}', b"\xff"])
def test_what_is_no_entry_is_an_integrity_error(line: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        read_entry(line)
    assert caught.value.code == "escrow_unreadable"


@pytest.mark.parametrize(("keep", "kept"), [(0, 1), (1, 1), (2, 2), (9, 3)])
def test_the_newest_generation_always_stays(keep: int, kept: int) -> None:
    generations = tuple(a_generation("v", id_=f"esc_{n}") for n in range(3))
    stay, go = split_by_retention(generations, keep)
    assert (len(stay), len(go)) == (kept, 3 - kept)
    assert stay[-1] is generations[-1]


@pytest.mark.parametrize(
    ("location", "geography"),
    [("westeurope", "Europe"), ("West Europe", "Europe"), ("uksouth", "United Kingdom"), ("moonbase1", "moonbase1")],
)
def test_regions_have_geographies(location: str, geography: str) -> None:
    assert geography_of(location) == geography


def test_digests_are_sha_256() -> None:
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
