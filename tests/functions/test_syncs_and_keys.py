"""Syncs, jobs and keys through the API: watched, listed, filtered, paged, hidden from who does not see the group."""

import pytest

from core.domain.connections import ConnectionReport
from tests.builders.http import CONNECTION, AccountStage
from tests.builders.keys import NOW, a_generation, a_key, a_version
from tests.builders.people import BOB, GROUP, OTHER_GROUP
from tests.fakes.vault import FACTS


@pytest.fixture
async def synced(stage: AccountStage) -> tuple[AccountStage, str]:
    """A group whose sync has run, and the location of its job."""
    vault = stage.premises.stage.vault
    for number in range(5):
        versions = [a_version(f"{number}{index}".ljust(32, "0")) for index in range(1 + number)]
        vault.live[f"key-{number}"] = versions
    stage.reports(ConnectionReport(NOW, vaults=(FACTS,)))
    draft = {"kind": "azure", "title": "Webshop", "connection": CONNECTION, "vault": FACTS.resource_id}
    group = (await stage.post("groups", draft)).json["id"]
    started = await stage.post(f"groups/{group}/sync")
    assert (started.status, started.json["status"]) == (202, "queued")
    await stage.premises.app.jobs.run(stage.account, started.json["id"])
    return stage, group


async def test_a_sync_is_a_job_that_can_be_watched(synced: tuple[AccountStage, str]) -> None:
    stage, group = synced
    job = (await stage.get("jobs")).json["items"][0]
    assert (job["kind"], job["group"], job["status"]) == ("sync", group, "succeeded")
    assert (await stage.get(f"jobs/{job['id']}")).json["progress"]["counts"]["added"] == 5
    assert (await stage.post(f"jobs/{job['id']}/cancel")).code == "job_ended"
    started = await stage.post(f"groups/{group}/sync", {"mode": "full"})
    assert started.headers["Location"] == f"/api/{stage.path('jobs')}/{started.json['id']}"
    assert (await stage.post(f"groups/{group}/sync")).json["id"] == started.json["id"]
    cancelled = await stage.post(f"jobs/{started.json['id']}/cancel")
    assert cancelled.json["status"] == "cancelled"


async def test_jobs_and_keys_of_unseen_groups_do_not_exist(synced: tuple[AccountStage, str]) -> None:
    stage, group = synced
    job = (await stage.get("jobs")).json["items"][0]["id"]
    await stage.post("members", {"role": "member", "object_id": BOB.object_id})
    bob = stage.api.calling(BOB)
    for unseen in (f"jobs/{job}", f"groups/{group}/keys/{'key_' + 'a' * 24}"):
        assert (await bob.send("GET", stage.path(unseen))).status == 404
    for listed in ("jobs", "keys", "groups", "findings"):
        assert (await bob.send("GET", stage.path(listed))).json["items"] == []
    assert (await bob.send("GET", stage.path("keys"), query={"group": group})).code == "group_not_found"


@pytest.mark.parametrize("sort", ["name", "-name", "expires_on", "updated_on"])
async def test_keys_are_listed_in_pages_of_any_order(synced: tuple[AccountStage, str], sort: str) -> None:
    stage, _ = synced
    names, following = [], None
    while True:
        page = (await stage.get("keys", sort=sort, limit="2", **({"next": following} if following else {}))).json
        names += [key["azure_name"] for key in page["items"]]
        following = page["next"]
        if following is None:
            break
        assert "key-" not in following
    assert sorted(names) == [f"key-{number}" for number in range(5)]
    assert names == sorted(names, reverse=sort == "-name") or sort in {"expires_on", "updated_on"}


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"state": "active"}, 5),
        ({"state": "purged"}, 0),
        ({"text": "EY-3"}, 1),
        ({"type": "RSA"}, 5),
        ({"type": "EC"}, 0),
        ({"tag": "env=prod"}, 0),
        ({"origin": "keysteward"}, 0),
        ({"kind": "source"}, 0),
        ({"expires_before": "2030-01-01T00:00:00Z"}, 0),
        ({"drifted": "false"}, 5),
    ],
)
async def test_keys_are_filtered(synced: tuple[AccountStage, str], query: dict[str, str], count: int) -> None:
    assert len((await synced[0].get("keys", **query)).json["items"]) == count


async def test_a_cursor_belongs_to_its_list(synced: tuple[AccountStage, str]) -> None:
    stage, _ = synced
    following = (await stage.get("keys", limit="2")).json["next"]
    for query in ({"next": following, "sort": "-name"}, {"next": following[:-2]}, {"next": "x"}, {"next": "é"}):
        assert (await stage.get("keys", **query)).code == "invalid_cursor"
    for listed in ("jobs", "findings", "members", "groups"):
        assert (await stage.get(listed, next="*")).code == "invalid_cursor"


async def test_a_key_shows_its_parts(synced: tuple[AccountStage, str]) -> None:
    stage, group = synced
    listed = next(key for key in (await stage.get("keys")).json["items"] if key["azure_name"] == "key-4")
    one = f"groups/{group}/keys/{listed['id']}"
    key = (await stage.get(one)).json
    assert (key["state"], key["versions_total"], key["versions"][0]["number"]) == ("active", 5, 5)
    assert key["kid"] == f"{FACTS.uri}/keys/key-4"
    assert key["versions"][0]["kid"] == f"{FACTS.uri}/keys/key-4/{key['versions'][0]['id']}"
    assert key["group"] == {"id": group, "title": "Webshop", "connection": "connected"}
    assert (len(key["escrow"]), key["escrow_pending"]) == (1, False)
    assert key["history"][0]["actor"]["kind"]
    for part in ("escrow", "drift", "history"):
        assert (await stage.get(f"{one}/{part}")).json["items"] == key[part]


async def test_parts_are_paged_from_the_newest(stage: AccountStage) -> None:
    versions = tuple(a_version(f"{number:032x}") for number in range(7))
    generations = tuple(a_generation(id_=f"esc_{number}") for number in range(3))
    key = a_key(*versions, account=stage.account, group=GROUP, escrow=generations)
    await stage.premises.stage.key_rows.insert(GROUP, key.id, key)
    one = f"groups/{GROUP}/keys/{key.id}"
    numbers, following = [], None
    while True:
        page = (await stage.get(f"{one}/versions", limit="3", **({"next": following} if following else {}))).json
        numbers += [version["number"] for version in page["items"]]
        following = page["next"]
        if following is None:
            break
    assert numbers == [7, 6, 5, 4, 3, 2, 1]
    assert [each["id"] for each in (await stage.get(f"{one}/escrow")).json["items"]] == ["esc_2", "esc_1", "esc_0"]
    assert (await stage.get(f"{one}/versions", next="LTE")).code == "invalid_cursor"
    assert (await stage.get(f"groups/{OTHER_GROUP}/keys/{key.id}")).code == "key_not_found"
