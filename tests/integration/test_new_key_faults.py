"""New keys while vaults throttle, fail, cut connections or deny: a repetition never makes a second version."""

import asyncio
from dataclasses import dataclass

from tests.integration.azure import Vault
from tests.integration.client import Json, Reply
from tests.integration.estate import Estate, Site
from tests.integration.faulty_vaults import in_each
from tests.integration.material import a_key, base64_of

UNKNOWN = "vault_outcome_unknown"
#: In so many seconds a vault has carried out a request whose answer was lost, or never will.
ARRIVED_AFTER = 60
BUSY: Json = {"kind": "respond", "status": 503, "code": "Busy", "headers": {"Retry-After": "90"}}
#: What befalls the request that makes the key, and how it is answered at first: None where it succeeds all the same.
FAULTS: dict[str, tuple[Json, str | None]] = {
    "done, and cut": ({"kind": "cut_after"}, None),
    "unavailable": ({"kind": "respond", "status": 503}, UNKNOWN),
    "broken": ({"kind": "respond", "status": 500}, UNKNOWN),
    "timed out": ({"kind": "respond", "status": 408}, UNKNOWN),
    "throttled": ({"kind": "respond", "status": 429, "code": "Throttled"}, None),
    "nonsense": ({"kind": "respond", "status": 200, "body": "{"}, UNKNOWN),
}


@dataclass(frozen=True)
class Way:
    """A way to make a key: in which vault, by which request of ours, and by which of the vault's operations."""

    sku: str
    path: str
    operation: str
    imports: bool

    async def group(self, estate: Estate) -> tuple[Vault, str]:
        """Make the vault; where the key will travel wrapped, the key exchange key is there already."""
        vault, group = await estate.vault_group(self.sku)
        if self.imports and self.sku == "premium":
            await estate.api.post(f"groups/{group}/{self.path}", {**self.body(estate), "azure_name": "before"})
        return vault, group

    def body(self, estate: Estate) -> Json:
        names = {"azure_name": "k", "tags": {"a": "b"}, "expires_on": "2099-01-01T00:00:00Z"}
        if not self.imports:
            return {**names, "type": "EC"}
        return {**names, "material": {"value": base64_of(a_key(estate.site.ledger, "EC P-256").content)}}

    async def send(self, estate: Estate, group: str) -> Reply:
        """Send the request, the same for a group each time."""
        once = {"Idempotency-Key": group}
        return await estate.api.send("POST", f"groups/{group}/{self.path}", self.body(estate), headers=once)


WAYS = {
    "generated": Way("standard", "keys", "create_key", imports=False),
    "imported": Way("standard", "keys/import", "import_key", imports=True),
    "wrapped": Way("premium", "keys/import", "import_key", imports=True),
}


async def assert_made_once(estate: Estate, vault: Vault, group: str, key: Json) -> None:
    """Check that the vault has one version, and that Keysteward shows one key that is whole."""
    async with estate.azure.owner(vault) as owner:
        versions = [one.version async for one in owner.list_properties_of_key_versions(key["azure_name"])]
    assert versions == [version["id"] for version in key["versions"]]
    assert len(versions) == 1
    events = [entry["event"] for entry in key["history"]]
    assert (events.count("key.created") + events.count("key.imported"), key["drift"]) == (1, [])
    await estate.sync(group)
    whole = await estate.key(group, key["azure_name"])
    assert (whole["id"], whole["drift"], whole["escrow"][0]["versions"]) == (key["id"], [], versions)
    assert whole["origin"] == key["origin"] != "keysteward"


async def test_a_request_that_is_repeated_makes_one_version(site: Site) -> None:
    others = [(way, "done, and cut") for way in ("imported", "wrapped")]
    await in_each(site, repeated, [*(("generated", fault) for fault in FAULTS), *others])


async def test_a_request_whose_connection_was_cut_is_not_sent_again_while_it_may_arrive(site: Site) -> None:
    cases = [(way, await site.estate()) for way in WAYS]
    cut = await asyncio.gather(*(cut_off(estate, way) for way, estate in cases))
    async with site.product_clock(ARRIVED_AFTER):
        await asyncio.gather(
            *(sent_again(estate, way, *place) for (way, estate), place in zip(cases, cut, strict=True))
        )


async def cut_off(estate: Estate, way: str) -> tuple[Vault, str]:
    made = WAYS[way]
    vault, group = await made.group(estate)
    async with estate.azure.fault(vault, {"kind": "cut"}, operation=made.operation, count=1):
        assert_may_yet_arrive(await made.send(estate, group))
    asked = (await estate.azure.requests(vault))[made.operation]
    assert_may_yet_arrive(await made.send(estate, group))
    assert (await estate.azure.requests(vault))[made.operation] == asked
    return vault, group


async def sent_again(estate: Estate, way: str, vault: Vault, group: str) -> None:
    reply = await WAYS[way].send(estate, group)
    assert reply.status == 201, (way, reply.content)
    await assert_made_once(estate, vault, group, reply.json)


def assert_may_yet_arrive(reply: Reply) -> None:
    """Check the answer to a request that the vault may have carried out, or may yet carry out."""
    assert (reply.status, reply.json["code"]) == (503, UNKNOWN)
    assert 0 < int(reply.headers["Retry-After"]) <= ARRIVED_AFTER


async def repeated(estate: Estate, way: str, fault: str) -> None:
    made, (action, code) = WAYS[way], FAULTS[fault]
    vault, group = await made.group(estate)
    async with estate.azure.fault(vault, action, operation=made.operation, count=1):
        first = await made.send(estate, group)
        if code is None:
            assert first.status == 201, (way, fault, first.content)
        else:
            assert (first.status, first.json["code"]) == (503, code), (way, fault)
            assert int(first.headers["Retry-After"]) > 0
        second = await made.send(estate, group)
    assert second.status == 201, (way, fault, second.content)
    assert code is not None or second.json == first.json
    await assert_made_once(estate, vault, group, second.json)
    other = {**made.body(estate), "tags": {}}
    await estate.api.refused("POST", f"groups/{group}/{made.path}", other, status=409, code="key_name_taken")


async def test_the_vault_fails_after_the_key_is_made(site: Site) -> None:
    await in_each(site, fails_later, [("list_key_versions", 503), ("backup_key", 201)])


async def fails_later(estate: Estate, operation: str, status: int) -> None:
    made = WAYS["generated"]
    vault, group = await made.group(estate)
    async with estate.azure.fault(vault, BUSY, operation=operation):
        first = await made.send(estate, group)
        assert first.status == status, first.content
    second = await made.send(estate, group)
    assert second.status == 201
    assert second.json["escrow_pending"] is (operation == "backup_key"), "the next sync escrows it"
    await assert_made_once(estate, vault, group, second.json)


async def test_a_vault_that_is_away_gets_no_request_to_make_a_key(estate: Estate) -> None:
    made = WAYS["generated"]
    vault, group = await made.group(estate)
    before = await estate.azure.requests(vault)
    async with estate.azure.fault(vault, BUSY, operation="get_key"):
        reply = await made.send(estate, group)
    assert (reply.status, reply.json["code"], reply.headers["Retry-After"]) == (503, "vault_unavailable", "90")
    assert (await estate.azure.requests(vault))["create_key"] == before["create_key"]
    await assert_made_once(estate, vault, group, (await made.send(estate, group)).json)


async def test_a_key_that_nobody_asks_for_again_is_found(estate: Estate) -> None:
    vault, group = await estate.vault_group()
    cut, busy = {"kind": "cut_after"}, {**BUSY, "headers": {"Retry-After": "31"}}
    body = {"name": "Mine", "azure_name": "k", "type": "EC"}
    async with (
        estate.azure.fault(vault, cut, operation="create_key", count=1),
        estate.azure.fault(vault, busy, operation="list_key_versions"),
    ):
        reply = await estate.api.send("POST", f"groups/{group}/keys", body)
    assert reply.status == 503
    assert await estate.keys(group) == {}
    host = estate.site.stack.host
    await host.run_function("reconcile_intents")
    async with estate.site.product_clock(360):
        await host.run_function("reconcile_intents")

        async def found() -> Json | None:
            return (await estate.keys(group)).get("k")

        listed = await estate.site.until(found)
    key = await estate.api.get(f"groups/{group}/keys/{listed['id']}")
    assert (key["name"], key["origin"], key["created_by"]["kind"]) == ("Mine", "native", "user")
    await assert_made_once(estate, vault, group, key)


async def test_a_key_exchange_key_whose_answer_is_lost_is_made_once(estate: Estate) -> None:
    made = WAYS["wrapped"]
    vault, group = await estate.vault_group(made.sku)
    async with estate.azure.fault(vault, {"kind": "cut_after"}, operation="create_key", count=1):
        reply = await made.send(estate, group)
    assert reply.status == 201, reply.content
    await assert_made_once(estate, vault, group, reply.json)
    (exchange_key,) = await estate.api.pages(f"groups/{group}/key-exchange-keys")
    assert (await estate.keys(group)).keys() == {"k", exchange_key["azure_name"]}


#: What the identity lacks, what is asked, and what the refusal names.
DENIALS = [
    ("standard", "create", "generated", {"key_permission": "create"}),
    ("standard", "import", "imported", {"key_permission": "import"}),
    ("standard", "get", "generated", {"key_permission": "get"}),
    ("managed_hsm", "Managed HSM Crypto User", "generated", {"local_role": "Managed HSM Crypto User"}),
    ("managed_hsm", "Managed HSM Crypto User", "imported", {"local_role": "Managed HSM Crypto User"}),
]


async def test_what_is_missing_is_named(site: Site) -> None:
    await in_each(site, denied, DENIALS)


async def denied(estate: Estate, sku: str, missing: str, way: str, facts: dict[str, str]) -> None:
    made = WAYS[way]
    vault, group = await estate.vault_group(sku)
    path, body = f"groups/{group}/{made.path}", made.body(estate)
    await estate.azure.forbid(vault, missing)
    problem = await estate.api.refused("POST", path, body, status=502, code="vault_denied")
    assert problem | facts == problem
    assert missing in problem["detail"]
    await estate.azure.permit(vault, missing)
    key = await estate.api.post(path, body)
    assert key["azure_name"] == "k", "the name is free"
