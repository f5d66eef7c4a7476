"""Names of new keys: free, taken, soft-deleted or purged, and what can be done; no key gets a version by mistake."""

import asyncio
import unicodedata

import pytest_asyncio
from azure.core.rest import HttpRequest

from local.demo.outside import purge
from tests.integration.azure import CHANGING, Azure, Vault
from tests.integration.client import Json
from tests.integration.estate import Estate, Site
from tests.integration.material import a_key, pem

TAKEN, SOFT_DELETED, PURGED = "key_name_taken", "key_name_soft_deleted", "key_name_purged"
#: What is wrong with names, and the code and field of the refusal.
MALFORMED: list[tuple[Json, str, str]] = [
    ({"name": ""}, "invalid_field", "name"),
    ({"name": "n" * 129}, "invalid_field", "name"),
    ({"name": "  "}, "key_name_invalid", "name"),
    ({"name": "a/b"}, "key_name_invalid", "name"),
    ({"name": "a\tb"}, "key_name_invalid", "name"),
    ({}, "key_name_invalid", "name"),
    ({"name": "two words"}, "azure_name_invalid", "azure_name"),
    ({"name": "\u00e4"}, "azure_name_invalid", "azure_name"),
    ({"azure_name": "a_b"}, "azure_name_invalid", "azure_name"),
    ({"azure_name": "../a"}, "azure_name_invalid", "azure_name"),
    ({"azure_name": "n" * 128}, "invalid_field", "azure_name"),
]


@pytest_asyncio.fixture(scope="module")
async def held(site: Site) -> tuple[Estate, Vault, str]:
    """A vault with names in every state, of keys that Keysteward knows and that it does not; and its group."""
    estate = await site.estate()
    vault, group = await estate.vault_group()
    await estate.azure.add_keys(vault, {"name": "Known"}, {"name": "gone"}, {"name": "deleted", "deleted": True})
    await estate.sync(group)
    async with estate.azure.owner(vault) as owner:
        await owner.delete_key("gone")
        await purge(owner, "gone")
    await estate.sync(group)
    await estate.azure.add_keys(vault, {"name": "Unseen"}, {"name": "unseen-deleted", "deleted": True})
    return estate, vault, group


async def refused(estate: Estate, group: str, code: str, **members: object) -> Json:
    """Ask for an EC key that is refused because of its name."""
    body = {"type": "EC", **members}
    return await estate.api.refused("POST", f"groups/{group}/keys", body, status=409, code=code)


async def create(estate: Estate, group: str, **members: object) -> Json:
    key: Json = await estate.api.post(f"groups/{group}/keys", {"type": "EC", **members})
    return key


def ways(problem: Json) -> list[str]:
    assert all(one["detail"] for one in problem["ways_out"])
    return [one["way"] for one in problem["ways_out"]]


async def versions(azure: Azure, vault: Vault, name: str) -> int:
    """Return how many versions the vault has of a key."""
    async with azure.owner(vault) as owner:
        return len([one async for one in owner.list_properties_of_key_versions(name)])


async def test_a_name_that_is_taken(held: tuple[Estate, Vault, str]) -> None:
    estate, vault, group = held
    known = (await estate.key(group, "Known"))["id"]
    for name, key in (("Known", known), ("kNOWN", known), ("Unseen", None), ("unseen", None)):
        problem = await refused(estate, group, TAKEN, azure_name=name)
        assert (problem["field"], ways(problem), problem.get("key")) == ("azure_name", ["rotate", "another_name"], key)
    body = {"azure_name": "known", "material": {"value": pem(a_key(estate.site.ledger, "EC P-256"))}}
    await estate.api.refused("POST", f"groups/{group}/keys/import", body, status=409, code=TAKEN)
    assert [await versions(estate.azure, vault, name) for name in ("Known", "Unseen")] == [1, 1]


async def test_a_name_of_a_soft_deleted_key(held: tuple[Estate, Vault, str]) -> None:
    estate, _, group = held
    known = await estate.key(group, "deleted")
    for name, key in (("deleted", known["id"]), ("DELETED", known["id"]), ("unseen-deleted", None)):
        problem = await refused(estate, group, SOFT_DELETED, azure_name=name)
        assert (ways(problem), problem.get("key")) == (["recover", "purge", "another_name"], key)
        assert problem["scheduled_purge_on"][:10] == known["deletion"]["scheduled_purge_on"][:10]


async def test_a_name_that_is_being_deleted(estate: Estate) -> None:
    vault, group = await estate.vault_group()
    await estate.azure.add_keys(vault, {"name": "k"})
    async with estate.azure.owner(vault) as owner:
        await owner.send_request(HttpRequest("DELETE", "/keys/k"))
    # For a moment the vault shows the name as neither live nor deleted; it refuses the request itself.
    await refused(estate, group, "key_being_deleted", name="Mine", azure_name="k")

    async def deleted() -> bool | None:
        reply = await estate.api.send("POST", f"groups/{group}/keys", {"type": "EC", "name": "Mine", "azure_name": "k"})
        return True if reply.json["code"] == SOFT_DELETED else None

    await estate.site.until(deleted)
    await create(estate, group, name="Mine", azure_name="free")


async def test_a_name_of_a_purged_key(held: tuple[Estate, Vault, str]) -> None:
    estate, vault, group = held
    old = await estate.key(group, "gone")
    problem = await refused(estate, group, PURGED, azure_name="gone")
    assert (ways(problem), problem["key"]) == (["restore", "reuse", "another_name"], old["id"])
    new = await create(estate, group, azure_name="gone", reuse_purged=True)
    assert await versions(estate.azure, vault, "gone") == 1
    both = {key["id"]: key for key in await estate.api.pages("keys", group=group) if key["azure_name"] == "gone"}
    assert {id_: key["state"] for id_, key in both.items()} == {old["id"]: "purged", new["id"]: "active"}
    kept = await estate.api.get(f"groups/{group}/keys/{old['id']}")
    assert (kept["escrow"], kept["versions"]) == (old["escrow"], old["versions"])
    assert len(new["escrow"]) == 1
    await refused(estate, group, TAKEN, azure_name="gone", reuse_purged=True)
    await estate.sync(group)
    assert (await estate.api.get(f"groups/{group}/keys/{new['id']}"))["drift"] == []


async def test_malformed_names_are_refused_before_anything_is_sent(held: tuple[Estate, Vault, str]) -> None:
    estate, vault, group = held
    before = await estate.azure.requests(vault)
    for names, code, field in MALFORMED:
        problem = await estate.api.refused(
            "POST", f"groups/{group}/keys", {"type": "EC", **names}, status=400, code=code
        )
        assert problem["field"] == field, names
    assert await estate.azure.requests(vault) == before


async def test_a_display_name_is_unique_in_the_account(held: tuple[Estate, Vault, str]) -> None:
    estate, vault, group = held
    source = await estate.source_group()
    name = "Grüße café"
    await create(estate, source, name=name)
    before = await estate.azure.requests(vault)
    for same in (name, name.upper(), unicodedata.normalize("NFD", name), f"  {name.title()} "):
        for to, names in ((group, {"azure_name": "display"}), (source, {})):
            problem = await refused(estate, to, "key_display_name_taken", name=same, **names)
            assert problem["field"] == "name"
    assert await estate.azure.requests(vault) == before, "the vault was not asked"
    # Another account does not know the name.
    other = await estate.site.estate()
    await create(other, await other.source_group(), name=name)


async def test_a_refused_request_leaves_no_name_taken(held: tuple[Estate, Vault, str]) -> None:
    estate, vault, group = held
    await refused(estate, group, TAKEN, name="Wanted", azure_name="Known")
    refusal = {"kind": "respond", "status": 403, "code": "Forbidden"}
    async with estate.azure.fault(vault, refusal, operation="create_key", count=1):
        body = {"type": "EC", "name": "Wanted", "azure_name": "wanted"}
        await estate.api.refused("POST", f"groups/{group}/keys", body, status=502, code="vault_denied")
    key = await create(estate, group, name="Wanted", azure_name="wanted")
    assert (key["name"], key["azure_name"]) == ("Wanted", "wanted")


async def test_of_requests_for_one_name_one_makes_the_key(estate: Estate) -> None:
    vault, group = await estate.vault_group()
    path = f"groups/{group}/keys"
    cases = (("azure_name", "name", TAKEN), ("name", "azure_name", "key_display_name_taken"))
    for case, (same, other, code) in enumerate(cases):
        bodies = [{"type": "EC", same: f"one-{case}", other: f"other-{case}-{number}"} for number in range(6)]
        replies = await asyncio.gather(*(estate.api.send("POST", path, body) for body in bodies))
        assert sorted(reply.status for reply in replies) == [201, 409, 409, 409, 409, 409]
        refusals = [reply.json for reply in replies if reply.status == 409]
        assert {refusal["code"] for refusal in refusals} == {code}
        assert code != TAKEN or all("another_name" in ways(refusal) for refusal in refusals)
        made = next(reply.json for reply in replies if reply.status == 201)
        assert await versions(estate.azure, vault, made["azure_name"]) == 1
    assert len(await estate.keys(group)) == 2
    again = {"type": "EC", "azure_name": "one-0"}
    await estate.api.refused("POST", path, again, status=409, code=TAKEN)


async def test_of_requests_under_one_idempotency_key_one_makes_the_key(estate: Estate) -> None:
    vault, group = await estate.vault_group()
    body, once = {"type": "EC", "azure_name": "k"}, {"Idempotency-Key": "once"}
    replies = await asyncio.gather(
        *(estate.api.send("POST", f"groups/{group}/keys", body, headers=once) for _ in range(4))
    )
    assert {reply.status for reply in replies} <= {201, 409}
    assert {reply.json["code"] for reply in replies if reply.status == 409} <= {"idempotency_in_progress"}
    again = await estate.api.done("POST", f"groups/{group}/keys", body, headers=once)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert {reply.json["id"] for reply in replies if reply.status == 201} == {again.json["id"]}
    assert await versions(estate.azure, vault, "k") == 1


async def test_somebody_else_takes_the_name_at_the_same_moment(estate: Estate) -> None:
    vault, group = await estate.vault_group()
    async with estate.azure.fault(vault, {"kind": "delay", "seconds": 2}, operation="create_key", count=1):
        ours = asyncio.create_task(refused(estate, group, "key_name_raced", name="Mine", azure_name="k"))
        await estate.site.until(lambda: has_fired(estate.azure, vault))
        async with estate.azure.owner(vault) as owner:
            theirs = await owner.create_ec_key("k")
        problem = await ours
    async with estate.azure.owner(vault) as owner:
        found = {one.version async for one in owner.list_properties_of_key_versions("k")}
    assert found == {theirs.properties.version, problem["version"]}, "that it became a version is said"
    assert problem["azure_name"] == "k"
    await create(estate, group, name="Mine", azure_name="k2")


async def has_fired(azure: Azure, vault: Vault) -> bool | None:
    rules = (await azure.control.get("faults"))["faults"]
    return True if any(rule["vault"] == vault.name and rule["fired"] for rule in rules) else None


async def test_two_vaults_of_one_name_in_an_account(estate: Estate) -> None:
    first, group = await estate.vault_group()
    key = await create(estate, group, azure_name="k")
    assert key["name"] == f"{first.name}/k"
    # The name of a vault is free in Azure once the vault is gone.
    await estate.azure.control.delete(f"vaults/{first.name}")
    elsewhere = await Azure.new(estate.site.stack, estate.site.control, estate.site.ledger)
    second = await elsewhere.vault(grant=CHANGING, name=first.name)
    assert second.resource_id != first.resource_id
    made = await estate.group(connection=elsewhere.connection(), vault=second.resource_id)
    labels = {(await estate.api.get(f"groups/{id_}"))["key_label"] for id_ in (group, made["id"])}
    assert labels == {first.name, f"{first.name}-2"}
    same = await create(estate, made["id"], azure_name="k")
    assert same["name"] == f"{first.name}-2/k"
