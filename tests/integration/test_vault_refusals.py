"""Vaults that refuse, vanish or answer nonsense in the middle of a sync: told by code, nothing lost."""

from tests.integration.estate import Estate, Site
from tests.integration.faulty_vaults import COUNT, a_vault, assert_whole, failed_sync, in_each


async def test_a_permission_is_revoked_in_the_middle(site: Site) -> None:
    await in_each(site, revoked, [("list_keys", 1), ("get_key", 1), ("backup_key", 1), ("list_deleted_keys", 0)])


async def revoked(estate: Estate, operation: str, skip: int) -> None:
    vault, group = await a_vault(estate)
    refusal = {"kind": "respond", "status": 403, "code": "Forbidden", "message": "upstream words"}
    async with estate.azure.fault(vault, refusal, operation=operation, skip=skip):
        job = await estate.ended(await estate.start(group))
    codes = {error["code"] for error in job["progress"]["errors"]}
    assert codes == {"vault_denied"}
    assert "upstream words" not in str(job)
    if operation.startswith("list"):
        assert job["status"] == "failed"
    else:
        assert (job["status"], job["progress"]["counts"]["failed"]) == ("succeeded", COUNT - 1)
    assert "sync_failed" in await estate.findings(group)
    await assert_whole(estate, group)


async def test_a_permission_that_was_really_revoked(estate: Estate) -> None:
    vault, group = await a_vault(estate)
    await estate.sync(group)
    await estate.azure.add_keys(vault, {"name": "late"})
    await estate.azure.forbid(vault, "list")
    await failed_sync(estate, group, "vault_denied")
    shown = await estate.api.get(f"groups/{group}")
    assert (shown["connection_state"], shown["report"]["cause"]) == ("not_connected", "access_denied")
    assert len(await estate.keys(group)) == COUNT
    await estate.azure.permit(vault, "list")
    await assert_whole(estate, group, COUNT + 1)
    assert (await estate.api.get(f"groups/{group}"))["connection_state"] == "connected"
    assert "not_connected" not in await estate.findings(group)


async def test_a_secret_that_is_withdrawn_between_two_syncs(estate: Estate) -> None:
    _, group = await a_vault(estate)
    await estate.sync(group)
    principal = f"principals/{estate.azure.application['object_id']}"
    await estate.azure.control.delete(f"{principal}/secrets")
    report = await estate.api.post(f"groups/{group}/connection/test")
    assert (report["result"], report["cause"]) == ("not_connected", "secret_wrong")
    await estate.azure.control.post(f"{principal}/secrets", {"value": estate.azure.application["secret"]})
    await assert_whole(estate, group)


async def test_a_vault_that_vanished(estate: Estate) -> None:
    vault, group = await a_vault(estate)
    await estate.sync(group)
    await estate.azure.control.delete(f"vaults/{vault.name}")
    await estate.azure.vault()
    await failed_sync(estate, group, "vault_not_found")
    shown = await estate.api.get(f"groups/{group}")
    assert (shown["connection_state"], shown["report"]["cause"]) == ("not_connected", "vault_not_found")
    keys = await estate.keys(group)
    assert len(keys) == COUNT
    assert {(key["state"], key["escrow_pending"]) for key in keys.values()} == {("active", False)}, "nothing is purged"


async def test_a_key_that_cannot_be_backed_up(estate: Estate) -> None:
    vault, group = await a_vault(estate)
    refusal = {"kind": "respond", "status": 400, "code": "BadParameter", "message": "upstream words"}
    async with estate.azure.fault(vault, refusal, operation="backup_key", path="k-000007"):
        job = await estate.ended(await estate.start(group))
        assert (job["status"], job["progress"]["counts"]["escrowed"]) == ("succeeded", COUNT - 1)
        (error,) = job["progress"]["errors"]
        assert (error["code"], error["key"]) == ("backup_refused", "k-000007")
        finding = (await estate.findings(group))["escrow_failed"]
        key = await estate.key(group, "k-000007")
        assert (finding["severity"], finding["key"]) == ("critical", key["id"])
        assert (key["escrow_problem"], key["escrow_pending"], key["escrow"]) == ("backup_refused", True, [])
        assert "upstream words" not in str((job, finding, key))
        unchanged = await estate.sync(group)
        assert unchanged["progress"]["counts"] == {"discovered": COUNT, "unchanged": COUNT}
    full = await estate.sync(group, "full")
    assert full["progress"]["counts"]["escrowed"] == 1
    assert "escrow_failed" not in await estate.findings(group)
    await assert_whole(estate, group)


async def test_a_key_with_600_versions(estate: Estate) -> None:
    many = {"name": "many", "versions": 600, "version_interval": 60}
    vault = await estate.azure.vault(keys=[many, {"name": "few", "versions": 2}])
    group = await estate.link(vault)
    job = await estate.ended(await estate.start(group))
    assert (job["status"], job["progress"]["counts"]["escrowed"]) == ("succeeded", 1)
    assert [error["key"] for error in job["progress"]["errors"]] == ["many"]
    key = await estate.key(group, "many")
    assert (key["versions_total"], key["escrow_problem"]) == (600, "backup_refused")
    versions = await estate.api.pages(f"groups/{group}/keys/{key['id']}/versions", limit="200")
    assert [version["number"] for version in versions] == list(range(600, 0, -1))
    assert len({version["id"] for version in versions}) == 600
    assert (await estate.findings(group))["escrow_failed"]["key"] == key["id"]


async def test_an_empty_page_with_a_next_link(site: Site) -> None:
    await in_each(site, emptied, [("list_keys",), ("list_deleted_keys",), ("list_key_versions",)])


async def emptied(estate: Estate, operation: str) -> None:
    keys = [{"name": "k", "count": COUNT}, {"name": "gone", "count": 30, "deleted": True}]
    vault = await estate.azure.vault(keys=keys)
    group = await estate.link(vault)
    async with estate.azure.fault(vault, {"kind": "empty_page"}, operation=operation, count=1):
        job = await estate.sync(group)
    assert job["progress"]["counts"] == {"discovered": COUNT + 30, "added": COUNT + 30, "escrowed": COUNT}
    async with estate.azure.fault(vault, {"kind": "empty_page"}, operation=operation, count=1):
        job = await estate.sync(group, "full")
    assert "purged" not in job["progress"]["counts"]
    assert len(await estate.keys(group)) == COUNT + 30


async def test_a_list_that_never_ends(estate: Estate) -> None:
    vault, group = await a_vault(estate)
    async with estate.azure.fault(vault, {"kind": "empty_page"}, operation="list_keys"):
        await failed_sync(estate, group, "vault_answer_malformed")
    await assert_whole(estate, group)


MALFORMED = [
    "{not json",
    '{"value": [{"kid": 7}]}',
    '{"value": [{"attributes": {"enabled": true}}]}',
    '{"value": [], "nextLink": "http://elsewhere.example/keys"}',
]


async def test_a_malformed_page(site: Site) -> None:
    await in_each(site, malformed, [(body,) for body in MALFORMED])


async def malformed(estate: Estate, body: str) -> None:
    vault, group = await a_vault(estate)
    await estate.sync(group)
    await estate.azure.add_keys(vault, {"name": "late"})
    action = {"kind": "respond", "status": 200, "body": body}
    async with estate.azure.fault(vault, action, operation="list_keys", skip=1):
        job = await estate.ended(await estate.start(group))
    assert job["status"] == "failed"
    assert job["progress"]["errors"][-1]["code"] in {"vault_answer_malformed", "vault_answer_unusable"}
    keys = await estate.keys(group)
    assert {key["state"] for key in keys.values()} == {"active"}, "what is not listed is not taken for purged"
    await assert_whole(estate, group, COUNT + 1)


async def test_a_malformed_answer_about_one_key(site: Site) -> None:
    await in_each(site, malformed_for_one, [("get_key",), ("backup_key",), ("list_key_versions",)])


async def malformed_for_one(estate: Estate, operation: str) -> None:
    vault, group = await a_vault(estate)
    action = {"kind": "respond", "status": 200, "body": '{"value": 3, "key": []}'}
    async with estate.azure.fault(vault, action, operation=operation, path="k-000003"):
        job = await estate.ended(await estate.start(group))
    assert (job["status"], job["progress"]["counts"]["failed"]) == ("succeeded", 1)
    assert [error["key"] for error in job["progress"]["errors"]] == ["k-000003"]
    await estate.sync(group, "full")
    await assert_whole(estate, group)
