"""Key exchange keys: made once, reused and retired; and what is wrong with a blob is said before it is sent."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest_asyncio
from azure.keyvault.keys import KeyVaultKey
from azure.keyvault.keys.aio import KeyClient

from tests.integration.azure import Vault
from tests.integration.client import Json
from tests.integration.estate import Estate, Site
from tests.integration.material import Key, a_key, asked, base64_of, transfer_blob

KIND = "EC P-256"
OURS = re.compile(r"keysteward-kek-[0-9a-f]{8}")


async def imported(estate: Estate, group: str, name: str, number: int = 0) -> Json:
    """Import a key that an HSM is to protect, so that it travels under a key exchange key."""
    material = {"value": base64_of(a_key(estate.site.ledger, KIND, number).content)}
    key: Json = await estate.api.post(f"groups/{group}/keys/import", {"azure_name": name, "material": material})
    return key


async def exchange_keys(estate: Estate, group: str) -> list[Json]:
    return await estate.api.pages(f"groups/{group}/key-exchange-keys")


async def test_one_is_made_and_reused(estate: Estate) -> None:
    vault, group = await estate.vault_group("premium")
    assert await exchange_keys(estate, group) == []
    await asyncio.gather(*(imported(estate, group, f"k{number}") for number in range(3)))
    await imported(estate, group, "k3")
    (made,) = await exchange_keys(estate, group)
    assert OURS.fullmatch(made["azure_name"])
    made_on, renew_on, retire_on = (datetime.fromisoformat(made[on]) for on in ("created_on", "renew_on", "retire_on"))
    assert (renew_on - made_on, retire_on - renew_on) == (timedelta(days=30), timedelta(days=7))
    async with estate.azure.owner(vault) as owner:
        held = await owner.get_key(made["azure_name"])
        assert [one.name async for one in owner.list_properties_of_keys()] == ["k0", "k1", "k2", "k3", held.name]
    assert (held.key_type, held.key_operations, len(held.key.n)) == ("RSA-HSM", ["import"], 512)
    assert held.id == made["kid"]
    assert abs(held.properties.expires_on - retire_on) < timedelta(minutes=1), "it ends even if nobody retires it"
    shown = await estate.api.get(f"groups/{group}/keys/{made['key']}")
    assert (shown["origin"], shown["operations"], shown["copied_from"]) == ("native", ["import"], None)
    assert shown["history"][-1]["event"] == "key.created_for_exchange"
    assert (await estate.sync(group))["progress"]["counts"] == {"discovered": 5, "unchanged": 5}


async def test_a_retired_one_is_disabled_and_another_takes_its_place(estate: Estate) -> None:
    vault, group = await estate.vault_group("managed_hsm")
    await imported(estate, group, "before")
    (first,) = await exchange_keys(estate, group)
    async with estate.azure.owner(vault) as owner:
        blob = transfer_blob(await owner.get_key(first["azure_name"]), a_key(estate.site.ledger, KIND).content)
    path = f"groups/{group}/key-exchange-keys/{first['key']}/retire"
    for _ in range(2):
        retired = await estate.api.post(path)
        assert retired["retired_on"] is not None
    problems = (await estate.api.post(f"groups/{group}/transfer-blobs/check", {"blob": blob.decode()}))["problems"]
    assert [problem["code"] for problem in problems] == ["key_exchange_key_disabled"]
    await imported(estate, group, "after")
    second, old = await exchange_keys(estate, group)
    assert (second["retired_on"], old) == (None, retired)
    assert second["azure_name"] != first["azure_name"]
    async with estate.azure.owner(vault) as owner:
        enabled = {one.name: one.enabled async for one in owner.list_properties_of_keys()}
    assert enabled == {"before": True, "after": True, first["azure_name"]: False, second["azure_name"]: True}
    shown = await estate.api.get(f"groups/{group}/keys/{first['key']}")
    assert (shown["state"], shown["history"][0]["event"]) == ("deactivated", "key.deactivated")
    await estate.sync(group)
    assert await estate.keys(group, drifted="true") == {}, "what Keysteward did is no drift"
    other = await estate.source_group()
    for unknown in (
        f"groups/{other}/key-exchange-keys/{first['key']}",
        f"groups/{group}/key-exchange-keys/key_{'a' * 24}",
    ):
        await estate.api.refused("POST", f"{unknown}/retire", status=404, code="key_exchange_key_not_found")


async def test_one_that_was_disabled_outside_is_not_used(estate: Estate) -> None:
    vault, group = await estate.vault_group("premium")
    await imported(estate, group, "before")
    (first,) = await exchange_keys(estate, group)
    async with estate.azure.owner(vault) as owner:
        await owner.update_key_properties(first["azure_name"], enabled=False)
        await imported(estate, group, "after")
        second, _ = await exchange_keys(estate, group)
        # Whoever widens what it may do could decrypt what is wrapped under it.
        await owner.update_key_properties(second["azure_name"], key_operations=["decrypt", "unwrapKey"])
    await imported(estate, group, "later")
    assert len(await exchange_keys(estate, group)) == 3


async def test_the_timer_retires_what_is_due(estate: Estate) -> None:
    vault, group = await estate.vault_group("premium")
    await imported(estate, group, "k")
    host, (made,) = estate.site.stack.host, await exchange_keys(estate, group)

    async def retired() -> Json | None:
        first = (await exchange_keys(estate, group))[-1]
        return first if first["retired_on"] else None

    await host.run_function("retire_key_exchange_keys")
    async with estate.site.product_clock(timedelta(days=31).total_seconds()):
        await host.run_function("retire_key_exchange_keys")
        await imported(estate, group, "under-another-one")
    assert len(await exchange_keys(estate, group)) == 2
    async with estate.azure.owner(vault) as owner:
        held = await owner.get_key(made["azure_name"])
        assert held.properties.enabled, "blobs that were made under it can still be imported"
        async with estate.site.product_clock(timedelta(days=38).total_seconds()):
            await host.run_function("retire_key_exchange_keys")
            first = await estate.site.until(retired)
        assert first["azure_name"] == made["azure_name"]
        assert not (await owner.get_key(made["azure_name"])).properties.enabled


@dataclass(frozen=True)
class Bench:
    """A vault with keys that are, and are not, fit to be key exchange keys; by name."""

    estate: Estate
    vault: Vault
    group: str
    keys: dict[str, KeyVaultKey]
    elsewhere: KeyVaultKey

    def blob(self, name: str = "good", **changes: object) -> bytes:
        return transfer_blob(self.keys[name], self.material.content, **changes)

    @property
    def material(self) -> Key:
        return a_key(self.estate.site.ledger, KIND)


async def an_exchange_key(owner: KeyClient, name: str = "good") -> KeyVaultKey:
    return await owner.create_rsa_key(name, hardware_protected=True, size=2048, key_operations=["import"])


@pytest_asyncio.fixture(scope="module")
async def bench(site: Site) -> Bench:
    estate = await site.estate()
    vault, group = await estate.vault_group("premium")
    of_import = {"kty": "RSA-HSM", "key_ops": ["import"]}
    await estate.azure.add_keys(
        vault,
        {"name": "disabled", **of_import, "enabled": False},
        {"name": "expired", **of_import, "expires_offset": -60},
        {"name": "early", **of_import, "not_before_offset": 3600},
        {"name": "software", "kty": "RSA", "key_ops": ["import"]},
        {"name": "wrapping", "kty": "RSA-HSM", "key_ops": ["wrapKey", "unwrapKey"]},
        {"name": "all-wrong", "kty": "RSA", "enabled": False},
        {"name": "elliptic", "kty": "EC-HSM"},
    )
    other = await estate.azure.vault("premium")
    async with estate.azure.owner(vault) as owner, estate.azure.owner(other) as other_owner:
        await an_exchange_key(owner)
        keys = {one.name: await owner.get_key(one.name) async for one in owner.list_properties_of_keys()}
        elsewhere = await an_exchange_key(other_owner)
    return Bench(estate, vault, group, keys, elsewhere)


def header(kid: object, **changes: object) -> Json:
    return {"header": {"kid": kid, "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP", **changes}}


def cut(blob: bytes, characters: int) -> bytes:
    whole = json.loads(blob)
    return json.dumps({**whole, "ciphertext": whole["ciphertext"][:-characters]}).encode()


#: What is wrong with a blob, and the codes of everything that is.
BLOBS: dict[str, tuple[Callable[[Bench], bytes], list[str]]] = {
    "none": (lambda bench: bench.blob(), []),
    "no JSON": (lambda _: b"no blob at all", ["transfer_blob_unreadable"]),
    "a list": (lambda _: b"[]", ["transfer_blob_unreadable"]),
    "no header": (lambda bench: bench.blob(header=None), ["transfer_blob_unreadable"]),
    "no ciphertext": (lambda bench: bench.blob(ciphertext=""), ["transfer_blob_unreadable"]),
    "odd ciphertext": (lambda bench: bench.blob(ciphertext="*" * 64), ["transfer_blob_unreadable"]),
    "another schema": (lambda bench: bench.blob(schema_version="2.0.0"), ["transfer_blob_schema"]),
    "another algorithm": (
        lambda bench: bench.blob(**header(bench.keys["good"].id, alg="RSA-OAEP")), ["transfer_blob_algorithm"],
    ),
    "another encryption": (
        lambda bench: bench.blob(**header(bench.keys["good"].id, enc="A256GCM")), ["transfer_blob_encryption"],
    ),
    "no kid": (lambda bench: bench.blob(**header("")), ["transfer_blob_kid"]),
    "no version": (
        lambda bench: bench.blob(**header(bench.keys["good"].id.rpartition("/")[0])), ["transfer_blob_kid"],
    ),
    "much at once": (
        lambda bench: bench.blob(schema_version="0", **header("x", alg="y", enc="z")),
        ["transfer_blob_schema", "transfer_blob_algorithm", "transfer_blob_encryption", "transfer_blob_kid"],
    ),
    "another vault": (
        lambda bench: transfer_blob(bench.elsewhere, bench.material.content), ["transfer_blob_other_vault"],
    ),
    "no such version": (
        lambda bench: bench.blob(**header(bench.keys["good"].id[:-32] + "0" * 32)), ["key_exchange_key_not_found"],
    ),
    "no such key": (
        lambda bench: bench.blob(**header(bench.keys["good"].id.replace("/good/", "/bad/"))),
        ["key_exchange_key_not_found"],
    ),
    "disabled": (lambda bench: bench.blob("disabled"), ["key_exchange_key_disabled"]),
    "expired": (lambda bench: bench.blob("expired"), ["key_exchange_key_expired"]),
    "early": (lambda bench: bench.blob("early"), ["key_exchange_key_expired"]),
    "software": (lambda bench: bench.blob("software"), ["key_exchange_key_type"]),
    "other operations": (lambda bench: bench.blob("wrapping"), ["key_exchange_key_operations"]),
    "a bad key": (
        lambda bench: bench.blob("all-wrong"),
        ["key_exchange_key_type", "key_exchange_key_operations", "key_exchange_key_disabled"],
    ),
    "no RSA": (
        lambda bench: bench.blob(**header(bench.keys["elliptic"].id)),
        ["key_exchange_key_type", "key_exchange_key_operations"],
    ),
    "cut off": (lambda bench: cut(bench.blob(), 4), ["transfer_blob_length"]),
    "cut off by a block": (lambda bench: cut(bench.blob(), 32), ["transfer_blob_key_type"]),
    "another type": (
        lambda bench: transfer_blob(bench.keys["good"], a_key(bench.estate.site.ledger, "RSA 2048").content),
        ["transfer_blob_key_type"],
    ),
    "another curve": (
        lambda bench: transfer_blob(bench.keys["good"], a_key(bench.estate.site.ledger, "EC P-521").content),
        ["transfer_blob_key_type"],
    ),
}  # fmt: skip


async def test_a_check_names_everything_that_is_wrong(bench: Bench) -> None:
    estate, before = bench.estate, await bench.estate.azure.requests(bench.vault)
    for what, (make, codes) in BLOBS.items():
        body = {"blob": make(bench).decode(), **asked(KIND)}
        checked = await estate.api.post(f"groups/{bench.group}/transfer-blobs/check", body)
        assert [problem["code"] for problem in checked["problems"]] == codes, what
        assert checked["usable"] is (codes == [])
        assert all(problem["detail"] for problem in checked["problems"])
    assert await asked_for_keys_only(bench, before)


async def test_a_bad_blob_is_not_imported(bench: Bench) -> None:
    estate, before = bench.estate, await bench.estate.azure.requests(bench.vault)
    for what, (make, codes) in BLOBS.items():
        body = {"name": "k", "azure_name": "k", "blob": make(bench).decode(), **asked(KIND)}
        if codes:
            path = f"groups/{bench.group}/transfer-blobs/import"
            problem = await estate.api.refused("POST", path, body, status=400, code="transfer_blob_refused")
            assert ([one["code"] for one in problem["problems"]], problem["field"]) == (codes, "blob"), what
    assert await asked_for_keys_only(bench, before)
    assert await estate.keys(bench.group) == {}


async def asked_for_keys_only(bench: Bench, before: dict[str, int]) -> bool:
    after = await bench.estate.azure.requests(bench.vault)
    return {operation for operation, count in after.items() if count != before.get(operation, 0)} == {"get_key"}


async def test_an_unsuitable_key_is_not_wrapped_under(bench: Bench) -> None:
    estate, source = bench.estate, await bench.estate.source_group()
    body = {"name": "s", "type": "EC", "permissions": ["export"]}
    key = await estate.api.post(f"groups/{source}/keys", body)
    of = {"source": {"group": source, "key": key["id"]}}
    path = f"groups/{bench.group}/transfer-blobs"
    for name in ("disabled", "expired", "software", "wrapping", "elliptic"):
        wanted = {**of, "key_exchange_key": name}
        await estate.api.refused("POST", path, wanted, status=409, code="key_exchange_key_unsuitable")
    for unknown in ("nowhere", bench.elsewhere.id, bench.keys["good"].id[:-32] + "0" * 32):
        wanted = {**of, "key_exchange_key": unknown}
        await estate.api.refused("POST", path, wanted, status=404, code="key_exchange_key_not_found")
    for named in ("good", bench.keys["good"].id, bench.keys["good"].id.rpartition("/")[0]):
        made = await estate.api.done("POST", path, {**of, "key_exchange_key": named})
        assert made.json["header"]["kid"] == bench.keys["good"].id
