"""Source keys are copied to vaults and to other source groups: linked on both ends, each copy with its own result."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from tests.integration.azure import CHANGING, Vault
from tests.integration.client import Json
from tests.integration.estate import Estate, Site
from tests.integration.faulty_vaults import in_each
from tests.integration.material import Key, a_key, asked, assert_held, base64_of

EXPIRY = "2099-01-01T00:00:00Z"
TAGS = {"env": "prod"}


@dataclass(frozen=True)
class Source:
    """A source key that may be copied."""

    estate: Estate
    group: str
    material: Key
    shown: Json

    @classmethod
    async def of(cls, estate: Estate, kind: str = "EC P-256", **members: object) -> "Source":
        """Import the tests' key of a kind."""
        group, material = await estate.source_group(), a_key(estate.site.ledger, kind)
        permissions = ["export", "encrypt", "wrap"] if kind.startswith("AES") else ["export", "sign"]
        body = {
            "name": "root",
            **asked(kind),
            "permissions": permissions,
            "tags": TAGS,
            "expires_on": EXPIRY,
            **members,
        }
        body["material"] = {"value": base64_of(material.content)}
        return cls(estate, group, material, await estate.api.post(f"groups/{group}/keys/import", body))

    @property
    def path(self) -> str:
        return f"groups/{self.group}/keys/{self.shown['id']}"

    async def order(self, *targets: Json, **members: object) -> Json:
        """Ask for copies and return the job."""
        job: Json = await self.estate.api.post(f"{self.path}/copies", {"targets": list(targets), **members})
        return job

    async def copied(self, *targets: Json, **members: object) -> list[Json]:
        """Copy, and return the copies whole; all have to succeed."""
        job = await self.estate.settled(await self.order(*targets, **members))
        assert (job["status"], job["progress"]["errors"]) == ("succeeded", []), job
        return await self.copies(job["results"])

    async def copies(self, results: Sequence[Json]) -> list[Json]:
        """Return the keys of results that are done."""
        assert {(one["status"], one["code"]) for one in results} == {("done", None)}, results
        paths = [f"groups/{one['group']}/keys/{one['key']}" for one in results]
        return list(await asyncio.gather(*map(self.estate.api.get, paths)))

    async def refused(self, *targets: Json, status: int, code: str, **members: object) -> Json:
        """Ask for copies that are refused at once."""
        body = {"targets": list(targets), **members}
        return await self.estate.api.refused("POST", f"{self.path}/copies", body, status=status, code=code)


async def assert_copy(source: Source, copy: Json, vault: Vault | None, version: int = 1) -> None:
    """Check the links between a copy and its source, and that the copy is the source's material."""
    link = copy["copied_from"]
    assert copy["origin"] == "keysteward"
    assert (link["group"], link["key"], link["name"]) == (source.group, source.shown["id"], source.shown["name"])
    assert (link["source_version"], link["material_matches"]) == (version, True)
    assert link["copied_by"] == copy["created_by"] == source.shown["created_by"]
    (back,) = [one for one in await source.estate.api.pages(f"{source.path}/copies") if one["key"] == copy["id"]]
    assert back == {
        "group": copy["group"]["id"],
        "group_title": copy["group"]["title"],
        "key": copy["id"],
        "name": copy["name"],
        "azure_name": copy["azure_name"],
        "source_version": version,
        "copied_by": link["copied_by"],
        "copied_on": link["copied_on"],
    }
    assert copy["history"][-1]["event"] == "key.copied"
    if vault is None:
        public = await source.estate.api.get(f"groups/{copy['group']['id']}/keys/{copy['id']}/public-key")
        assert public["pem"] == source.material.public_pem
        return
    assert copy["versions"][0]["source_version"] == version
    assert copy["escrow"][0]["versions"] == [version["id"] for version in copy["versions"]]
    async with source.estate.azure.owner(vault) as owner:
        await assert_held(owner, copy["azure_name"], source.material)


async def test_one_key_goes_to_every_kind_of_place_at_once(estate: Estate) -> None:
    source = await Source.of(estate)
    vaults = await asyncio.gather(*map(estate.vault_group, ("standard", "premium", "managed_hsm")))
    (standard, _), (premium, premium_group), (managed_hsm, _) = vaults
    other = await estate.source_group()
    targets = [{"group": group} for _, group in vaults]
    targets += [{"group": premium_group, "protection": "software"}, {"group": other}]
    job = await source.order(*targets)
    assert (job["kind"], job["group"], job["progress"]["total"]) == ("copy", source.group, 5)
    ended = await estate.settled(job)
    assert (ended["status"], ended["progress"]["done"]) == ("succeeded", 5), ended
    copies = await source.copies(ended["results"])
    places = (standard, premium, managed_hsm, premium, None)
    for copy, vault, type_ in zip(copies, places, ("EC", "EC-HSM", "EC-HSM", "EC", "EC"), strict=True):
        await assert_copy(source, copy, vault)
        assert (copy["type"], copy["expires_on"], copy["tags"]) == (type_, EXPIRY, TAGS)
        assert (copy["operations"], copy["permissions"]) == ((["sign"], None) if vault else ([], ["export", "sign"]))
    assert [copy["name"] for copy in copies] == [f"root_copy{number}" for number in range(1, 6)]
    assert [copy["azure_name"] for copy in copies] == [f"root-copy{number}" for number in range(1, 5)] + [None]
    listed = await estate.api.get(f"{source.path}/copies")
    assert (len(listed["items"]), listed["suggested_name"]) == (5, "root_copy6")
    shown = await estate.api.get(source.path)
    assert (shown["copies_total"], len(shown["copies"])) == (5, 5)
    assert [one["event"] for one in shown["history"]].count("key.copied_to") == 5
    for _, group in vaults:
        assert "updated" not in (await estate.sync(group))["progress"]["counts"]
        assert await estate.keys(group, drifted="true") == {}


async def test_keys_of_every_type_are_copied(site: Site) -> None:
    cases = [("RSA 2048", "standard"), ("RSA 4096", "premium"), ("AES 256", "managed_hsm"), ("EC P-256K", "standard")]
    await in_each(site, is_copied, cases)


async def is_copied(estate: Estate, kind: str, sku: str) -> None:
    source = await Source.of(estate, kind)
    vault, group = await estate.vault_group(sku)
    (copy,) = await source.copied({"group": group})
    await assert_copy(source, copy, vault)
    if kind.startswith("AES"):
        assert sorted(copy["operations"]) == ["encrypt", "wrapKey"]


async def test_a_copy_can_be_otherwise_than_its_source(estate: Estate) -> None:
    source = await Source.of(estate)
    vault, group = await estate.vault_group()
    other = await estate.source_group()
    wanted = {"operations": ["verify"], "tags": {}, "enabled": False, "not_before": "2090-01-01T00:00:00Z"}
    first, second, third = await source.copied(
        {"group": group, "name": "Mine", "azure_name": "mine", **wanted},
        {"group": group, "azure_name": "unnamed"},
        {"group": other, "name": "Kept", "permissions": ["verify"], "tags": {"a": "b"}},
    )
    assert (first["name"], first["azure_name"], first["operations"]) == ("Mine", "mine", ["verify"])
    assert (first["enabled"], first["tags"], first["expires_on"]) == (False, {}, None)
    assert first["not_before"] == wanted["not_before"]
    assert (second["name"], second["azure_name"]) == (f"{vault.name}/unnamed", "unnamed")
    assert (third["name"], third["permissions"], third["tags"]) == ("Kept", ["verify"], {"a": "b"})
    async with estate.azure.owner(vault) as owner:
        held = await owner.get_key("mine")
    assert (held.properties.enabled, held.key_operations, held.properties.tags) == (False, ["verify"], None)


async def test_a_version_of_a_key_is_copied(estate: Estate) -> None:
    source = await Source.of(estate)
    vault, group = await estate.vault_group()
    await estate.api.post(f"{source.path}/versions")
    (old,) = await source.copied({"group": group}, version=1)
    await assert_copy(source, old, vault, version=1)
    (new,) = await source.copied({"group": group})
    assert new["copied_from"]["source_version"] == 2
    public = await estate.api.get(f"{source.path}/public-key")
    assert new["versions"][0]["public_key"]["thumbprint"] == public["thumbprint"]


async def test_what_cannot_be_copied_is_refused_at_once(estate: Estate) -> None:
    source = await Source.of(estate)
    vault, group = await estate.vault_group()
    here, twice = {"group": group}, {"group": group, "name": "same"}
    virtual = (await source.copied(here))[0]
    await estate.api.refused(
        "POST", f"groups/{group}/keys/{virtual['id']}/copies", {"targets": [here]}, status=409, code="virtual_key"
    )
    kept = await Source.of(await estate.site.estate(), permissions=["sign"])
    _, its_group = await kept.estate.vault_group()
    problem = await kept.refused({"group": its_group}, status=409, code="key_permission_missing")
    assert problem["permission"] == "export"
    before = await estate.azure.requests(vault)
    refusals: list[tuple[tuple[Json, ...], int, str, str]] = [
        ((here, {**here, "name": "ROOT"}), 409, "key_display_name_taken", "targets.1.name"),
        ((twice, twice), 409, "key_display_name_taken", "targets.1.name"),
        ((here, {**here, "azure_name": "a_b"}), 400, "azure_name_invalid", "targets.1.azure_name"),
        (({**here, "protection": "hsm"},), 422, "key_not_allowed", "targets.0.protection"),
        (({**here, "operations": ["wrapKey"]},), 422, "key_not_allowed", "targets.0.operations"),
        (({**here, "expires_on": "2020-01-01T00:00:00Z"},), 400, "dates_invalid", "targets.0.expires_on"),
        (({**here, "permissions": ["sign"]},), 400, "field_for_other_kind", "targets.0.permissions"),
        ((here, {"group": source.group, "operations": []}), 400, "field_for_other_kind", "targets.1.operations"),
        ((), 400, "invalid_field", "targets"),
    ]
    for targets, status, code, field in refusals:
        problem = await source.refused(*targets, status=status, code=code)
        assert problem["field"] == field
    await source.refused(here, version=2, status=404, code="key_version_not_found")
    symmetric = await estate.api.post(
        f"groups/{source.group}/keys", {"name": "aes", "type": "AES", "permissions": ["export"]}
    )
    aes_path = f"groups/{source.group}/keys/{symmetric['id']}/copies"
    await estate.api.refused("POST", aes_path, {"targets": [here]}, status=422, code="key_not_allowed")
    assert await estate.azure.requests(vault) == before
    assert len(await estate.api.pages("jobs")) == 1
    # None of them leaves a name taken.
    assert (await estate.api.get(f"{source.path}/copies"))["suggested_name"] == "root_copy2"


async def test_a_copy_takes_a_permission_on_either_end(estate: Estate) -> None:
    source = await Source.of(estate)
    _, group = await estate.vault_group()
    path, body = f"{source.path}/copies", {"targets": [{"group": group}]}
    reader = await estate.application({source.group: "operator", group: "auditor"})
    problem = await reader.refused("POST", path, body, status=403, code="not_permitted")
    assert problem["permission"] == "key.copy"
    stranger = await estate.application({source.group: "operator"})
    await stranger.refused("POST", path, body, status=404, code="group_not_found")
    keeper = await estate.application({source.group: "auditor", group: "operator"})
    await keeper.refused("POST", path, body, status=403, code="not_permitted")
    operator = await estate.application({source.group: "operator", group: "operator"})
    job = await estate.settled(await operator.post(path, body))
    assert job["status"] == "succeeded"
    (copy,) = await source.copies(job["results"])
    assert copy["copied_from"]["copied_by"]["kind"] == "application"


async def test_a_copy_that_fails_leaves_the_others(estate: Estate) -> None:
    source = await Source.of(estate)
    vault, group = await estate.vault_group()
    await estate.azure.add_keys(vault, {"name": "taken"})
    denied = await estate.link(await estate.azure.vault(grant=tuple(set(CHANGING) - {"import"})))
    job = await estate.settled(
        await source.order({"group": group, "azure_name": "taken"}, {"group": group}, {"group": denied})
    )
    assert (job["status"], job["progress"]["done"]) == ("failed", 3)
    assert job["progress"]["errors"][-1]["code"] == "targets_failed"
    results = [(one["status"], one["code"], one["key"] is None) for one in job["results"]]
    assert results == [("failed", "key_name_taken", True), ("done", None, False), ("failed", "vault_denied", True)]
    (copy,) = await source.copies(job["results"][1:2])
    await assert_copy(source, copy, vault)
    assert len(await estate.api.pages(f"{source.path}/copies")) == 1
    # What was suggested to a copy that failed is free again.
    again = await estate.settled(await source.order({"group": group}))
    assert (again["status"], again["results"][0]["name"]) == ("succeeded", "root_copy2")


async def test_a_vault_that_is_away_is_waited_for_while_the_others_go_on(estate: Estate) -> None:
    source, once = await Source.of(estate), {"Idempotency-Key": "copies"}
    (near, near_group), (away, away_group) = await estate.vault_group(), await estate.vault_group("premium")
    body = {"targets": [{"group": near_group}, {"group": away_group}]}
    outage = {"kind": "respond", "status": 503, "code": "Busy", "headers": {"Retry-After": "90"}}
    async with estate.azure.fault(away, outage):
        job = (await estate.api.done("POST", f"{source.path}/copies", body, headers=once)).json
        waiting = await estate.job_when(job, lambda one: one["not_before"] is not None, within=20)
        assert (waiting["status"], waiting["progress"]["errors"][-1]["code"]) == ("queued", "vault_unavailable")
        near_result, away_result = waiting["results"]
        assert (near_result["status"], away_result["status"]) == ("done", "pending")
        assert (away_result["code"], away_result["key"]) == ("vault_unavailable", None)
    again = (await estate.api.done("POST", f"{source.path}/copies", body, headers=once)).json
    assert again["id"] == job["id"]
    async with estate.site.product_clock(600):
        await estate.site.stack.host.run_function("reconcile_jobs")
        ended = await estate.settled(job)
    assert ended["status"] == "succeeded", ended
    for copy, vault in zip(await source.copies(ended["results"]), (near, away), strict=True):
        await assert_copy(source, copy, vault)
    assert ended["results"][0] == near_result, "what was done is not done again"
    assert len(await estate.keys(near_group)) == 1
