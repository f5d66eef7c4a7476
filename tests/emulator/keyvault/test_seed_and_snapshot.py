"""Bulk seeding over the control API, and what the saved state of a vault brings back."""

import time

import pytest

from local.emulator.client import ControlClient, ControlRefusedError
from local.emulator.keyvault import KeySeed, dump_vault, load_vault, seed_keys
from local.emulator.keyvault.store import store_of
from local.emulator.world import Vault, World

from .clients import MakeRaw, MakeVault

DAY = 86400


def a_vault(kind: str = "vault") -> Vault:
    sku = "premium" if kind == "vault" else "Standard_B1"
    made = Vault("local", "vault", sku, "sub", "group", "tenant", "westeurope", "Europe", "domain", port=8443)
    made.kind = "vault" if kind == "vault" else "managed_hsm"
    return made


async def test_seeded_keys_are_as_described(control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault) -> None:
    vault = await make_vault("premium")
    keys = [
        {"name": "Plain", "kty": "EC", "curve": "P-384", "tags": {"t": "1"}},
        {"name": "old", "versions": 3, "version_interval": DAY, "created_offset": -DAY, "expires_offset": -60},
        {"name": "off", "kty": "RSA-HSM", "size": 3072, "enabled": False, "not_before_offset": 60, "key_ops": ["sign"]},
        {"name": "gone", "deleted": True, "deleted_offset": -DAY},
    ]

    await control.post(f"vaults/{vault.name}/keys", {"keys": keys})

    raw, now = await raw_of(vault), time.time()
    plain = (await raw("GET", "/keys/plain")).json
    assert (plain["key"]["kid"].split("/")[-2], plain["key"]["crv"], plain["tags"]) == ("Plain", "P-384", {"t": "1"})
    versions = (await raw("GET", "/keys/old/versions")).json["value"]
    created = sorted(item["attributes"]["created"] - now for item in versions)
    assert created == pytest.approx([-3 * DAY, -2 * DAY, -DAY], abs=5)
    assert [("exp" in item["attributes"]) for item in versions].count(True) == 1
    off = (await raw("GET", "/keys/off")).json
    assert (off["key"]["kty"], off["key"]["key_ops"], off["attributes"]["key_size"]) == ("RSA-HSM", ["sign"], 3072)
    assert off["attributes"]["enabled"] is False
    assert off["attributes"]["nbf"] == pytest.approx(now + 60, abs=5)
    gone = (await raw("GET", "/deletedkeys/gone")).json
    assert gone["deletedDate"] == pytest.approx(now - DAY, abs=5)


@pytest.mark.parametrize(
    "keys",
    [
        [{"name": "bad name"}],
        [{"name": "a"}, {"name": "A"}],
        [{"name": "a", "count": 0}],
        [{"name": "a", "versions": 0}],
        [{"name": "a", "kty": "RSA-HSM"}],
        [{"name": "a", "kty": "RSA", "size": 1024}],
        [{"name": "a", "curve": "P-192"}],
        [{"name": "fine"}, {"name": "taken"}],
    ],
)
async def test_seeds_that_cannot_be_are_refused_whole(
    control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault, keys: list[dict[str, object]]
) -> None:
    vault = await make_vault("standard")
    await control.post(f"vaults/{vault.name}/keys", {"keys": [{"name": "taken"}]})

    with pytest.raises(ControlRefusedError) as refused:
        await control.post(f"vaults/{vault.name}/keys", {"keys": keys})

    assert refused.value.status == 400
    assert len((await (await raw_of(vault))("GET", "/keys")).json["value"]) == 1


def test_ten_thousand_keys_take_seconds() -> None:
    vault, started = a_vault(), time.perf_counter()

    seed_keys(vault, World(), [KeySeed("key", count=10_000)])

    assert time.perf_counter() - started < 5
    assert len(store_of(vault).key_names) == 10_000


def test_distinct_material_differs() -> None:
    vault = a_vault()

    seed_keys(vault, World(), [KeySeed("key", count=20, distinct_material=True)])

    assert len({key.newest.material.public["x"] for key in store_of(vault).keys.values()}) == 20


@pytest.mark.parametrize("kind", ["vault", "managed_hsm"])
def test_a_snapshot_brings_everything_back(kind: str) -> None:
    vault, world, copy = a_vault(kind), World(), a_vault(kind)
    seeds = [
        KeySeed("ec", versions=3, tags={"t": "1"}, expires_offset=60),
        KeySeed("rsa", kty="RSA-HSM"),
        KeySeed("oct", kty="oct-HSM"),
        KeySeed("gone", deleted=True),
    ]
    seed_keys(vault, world, seeds)

    load_vault(copy, dump_vault(vault))

    assert dump_vault(copy) == dump_vault(vault)
    assert list(store_of(copy).keys) == list(store_of(vault).keys)
    assert list(store_of(copy).deleted) == ["GONE"]


def test_an_empty_state_means_no_keys() -> None:
    vault = a_vault()

    load_vault(vault, {})

    assert len(store_of(vault).key_names) == 0
