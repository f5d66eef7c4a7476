"""Drills, findings, drift and rotation by the vault, through the API: who may, what is asked, what is answered."""

from dataclasses import replace

import pytest

from core.domain.connections import ConnectionReport
from core.domain.keys import KeyOrigin
from core.domain.new_keys import RotationPolicy
from core.services.findings import FindingCode, Subject
from tests.builders.drills import SCRATCH_FACTS, DrillStage, a_drill_vault
from tests.builders.http import CONNECTION, AccountStage, Premises
from tests.builders.keys import NOW, a_version
from tests.builders.people import BOB, GROUP, OTHER_GROUP
from tests.fakes.vault import FACTS


@pytest.fixture
async def linked() -> tuple[AccountStage, str, str]:
    """A group whose sync has run, and a scratch group of the same account."""
    premises = Premises(stage=DrillStage(a_drill_vault(3)))
    stage = AccountStage(premises, await premises.office.an_account())
    stage.reports(ConnectionReport(NOW, vaults=(FACTS, SCRATCH_FACTS)))
    made = []
    for facts in (FACTS, SCRATCH_FACTS):
        draft = {"kind": "azure", "title": facts.name, "connection": CONNECTION, "vault": facts.resource_id}
        made.append((await stage.post("groups", draft)).json["id"])
    await run(stage, await stage.post(f"groups/{made[0]}/sync"))
    return stage, made[0], made[1]


async def run(stage: AccountStage, started: object) -> dict[str, object]:
    job = started.json["id"]  # type: ignore[attr-defined]
    await stage.premises.app.jobs.run(stage.account, job)
    return dict((await stage.get(f"jobs/{job}")).json)


async def test_a_drill_is_a_job_and_shows_on_the_group(linked: tuple[AccountStage, str, str]) -> None:
    stage, group, scratch = linked
    before = (await stage.get(f"groups/{group}")).json
    assert (before["drill"], before["last_drill"]) == (
        {"every_days": 7, "sample": None, "restore_into": None, "restores": 1, "paused": False},
        None,
    )
    assert before["next_drill_on"] is not None
    started = await stage.post(f"groups/{group}/escrow-drill", {"restore_into": scratch, "restores": 2})
    assert (started.status, started.json["kind"]) == (202, "drill")
    assert started.headers["Location"] == f"/api/{stage.path('jobs')}/{started.json['id']}"
    assert started.json["options"] == {"restore_into": scratch, "restores": "2"}
    assert (await stage.post(f"groups/{group}/escrow-drill")).json["id"] == started.json["id"]
    job = await run(stage, started)
    assert job["status"] == "succeeded"
    assert job["progress"]["counts"] == {"opened": 3, "verified": 3, "restored": 2}  # type: ignore[index]
    assert [result["status"] for result in job["results"]] == ["done", "done"]  # type: ignore[attr-defined]
    last = (await stage.get(f"groups/{group}")).json["last_drill"]
    assert (last["job"], last["opened"], last["restored"], last["failed"]) == (job["id"], 3, 2, 0)
    assert "position" not in last


async def test_the_settings_are_those_of_the_group(linked: tuple[AccountStage, str, str]) -> None:
    stage, group, scratch = linked
    drill = {"every_days": 1, "sample": 2, "restore_into": scratch}
    changed = await stage.change("PATCH", f"groups/{group}", {"drill": drill})
    assert changed.json["drill"] == {**drill, "restores": 1, "paused": False}
    started = await stage.post(f"groups/{group}/escrow-drill", {"restore_into": None})
    assert started.json["options"] == {"sample": "2"}
    paused = await stage.change("PATCH", f"groups/{group}", {"drill": {"paused": True}})
    assert (paused.json["next_drill_on"], paused.json["drill"]["sample"]) == (None, 2)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"sample": 0}, 400, "group_invalid"),
        ({"restores": 11}, 400, "group_invalid"),
        ({"sample": "3"}, 400, "invalid_field"),
        ({"unknown": 1}, 400, "unknown_field"),
        ({"restore_into": "grp_" + "n" * 24}, 404, "group_not_found"),
    ],
)
async def test_orders_that_make_no_sense(
    linked: tuple[AccountStage, str, str], body: dict[str, object], status: int, code: str
) -> None:
    stage, group, _ = linked
    refused = await stage.post(f"groups/{group}/escrow-drill", body)
    # Whoever sees all groups learns that there is no such one; others, that they see none.
    expected = (400, "group_unknown") if code == "group_not_found" else (status, code)
    assert (refused.status, refused.code) == expected


async def test_groups_that_will_not_do(linked: tuple[AccountStage, str, str]) -> None:
    stage, group, scratch = linked
    assert (await stage.post(f"groups/{group}/escrow-drill", {"restore_into": group})).code == "scratch_own_vault"
    assert (await stage.post(f"groups/{GROUP}/escrow-drill")).code == "vault_not_selected"
    source = (await stage.post("groups", {"kind": "source", "title": "Sources"})).json["id"]
    assert (await stage.post(f"groups/{source}/escrow-drill")).code == "group_kind"
    rows = stage.premises.office.group_rows
    stored = await rows.get(stage.account, scratch)
    assert stored is not None
    protected = replace(stored.value, vault=replace(SCRATCH_FACTS, purge_protection=True))
    await rows.replace(stage.account, scratch, protected, stored.etag)
    refused = await stage.post(f"groups/{group}/escrow-drill", {"restore_into": scratch})
    assert (refused.status, refused.code, refused.json["field"]) == (409, "scratch_purge_protected", "restore_into")
    refused = await stage.change("PATCH", f"groups/{group}", {"drill": {"restore_into": scratch}})
    assert refused.code == "scratch_purge_protected"


async def test_whoever_restores_into_a_group_may_restore_there(linked: tuple[AccountStage, str, str]) -> None:
    stage, group, scratch = linked
    member = (await stage.post("members", {"role": "member", "object_id": BOB.object_id})).json["id"]
    await stage.api.send("PUT", stage.path(f"groups/{group}/members/{member}"), {"role": "admin"})
    bob = stage.api.calling(BOB)
    drill = stage.path(f"groups/{group}/escrow-drill")
    assert (await bob.send("POST", drill, {"restore_into": scratch})).code == "group_not_found"
    await stage.api.send("PUT", stage.path(f"groups/{scratch}/members/{member}"), {"role": "auditor"})
    stage.premises.access.forget(stage.account)
    refused = await bob.send("POST", drill, {"restore_into": scratch})
    assert (refused.code, refused.json["permission"]) == ("not_permitted", "key.restore")
    etag = (await bob.send("GET", stage.path(f"groups/{group}"))).headers["ETag"]
    refused = await bob.send(
        "PATCH",
        stage.path(f"groups/{group}"),
        {"drill": {"restore_into": scratch}},
        headers={"if-match": etag},
    )
    assert refused.code == "not_permitted"
    assert (await bob.send("POST", drill)).status == 202
    await stage.api.send("PUT", stage.path(f"groups/{group}/members/{member}"), {"role": "auditor"})
    assert (await bob.send("POST", drill)).json["permission"] == "key.restore"


# --- findings ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def found(stage: AccountStage) -> AccountStage:
    """Findings about two groups."""
    about = {
        (FindingCode.DRIFT, Subject(GROUP, "key_" + "a" * 24)): "drift",
        (FindingCode.KEY_EXPIRED, Subject(GROUP, "key_" + "a" * 24)): "expired",
        (FindingCode.ESCROW_BROKEN, Subject(OTHER_GROUP, "key_" + "b" * 24)): "broken",
        (FindingCode.NO_PURGE_PROTECTION, Subject(OTHER_GROUP)): "none",
    }
    await stage.premises.app.findings.settle(stage.account, about)
    return stage


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ({}, ["escrow_broken", "key_expired", "no_purge_protection", "drift"]),
        ({"severity": "notice"}, ["no_purge_protection", "drift"]),
        ({"severity": "critical", "group": GROUP}, []),
        ({"code": "drift"}, ["drift"]),
        ({"code": "drift", "severity": "critical"}, []),
        ({"group": OTHER_GROUP}, ["escrow_broken", "no_purge_protection"]),
        ({"key": "key_" + "a" * 24}, ["key_expired", "drift"]),
        ({"key": "key_" + "a" * 24, "code": "key_expired", "group": GROUP}, ["key_expired"]),
    ],
)
async def test_findings_are_filtered(found: AccountStage, query: dict[str, str], codes: list[str]) -> None:
    listed = (await found.get("findings", **query)).json
    assert sorted(item["code"] for item in listed["items"]) == sorted(codes)
    severities = [item["severity"] for item in listed["items"]]
    assert severities == sorted(severities, key=["critical", "warning", "notice"].index)
    assert all(item["advice"] for item in listed["items"])
    assert listed["next"] is None


@pytest.mark.parametrize("query", [{"severity": "bad"}, {"code": "bad"}, {"key": "bad"}, {"group": "bad"}])
async def test_filters_that_name_nothing_are_refused(found: AccountStage, query: dict[str, str]) -> None:
    assert (await found.get("findings", **query)).code == "invalid_field"


async def test_pages_of_findings_tell_nothing_of_groups_that_are_not_seen(found: AccountStage) -> None:
    await found.post("members", {"role": "member", "object_id": BOB.object_id})
    member = next(one["id"] for one in (await found.get("members")).json["items"] if one["role"] == "member")
    await found.api.send("PUT", found.path(f"groups/{GROUP}/members/{member}"), {"role": "auditor"})
    bob = found.api.calling(BOB)
    codes, following = [], None
    while True:
        query = {"limit": "1"} | ({"next": following} if following else {})
        page = (await bob.send("GET", found.path("findings"), query=query)).json
        codes += [item["code"] for item in page["items"]]
        following = page["next"]
        if following is None:
            break
        assert GROUP not in following
    assert codes == ["key_expired", "drift"]
    assert (await bob.send("GET", found.path("findings"), query={"group": OTHER_GROUP})).code == "group_not_found"


# --- what people do about them -------------------------------------------------------------------------------------


async def drifted(stage: AccountStage, group: str) -> str:
    """Change a key behind Keysteward's back and sync; return the key's path."""
    vault = stage.premises.stage.vault
    vault.live["key-001"] = [a_version(vault.live["key-001"][0].id, tags=(("a", "b"),), updated_on=NOW)]
    await run(stage, await stage.post(f"groups/{group}/sync"))
    (key,) = (await stage.get("keys", drifted="true")).json["items"]
    return f"groups/{group}/keys/{key['id']}"


async def test_drift_is_acknowledged(linked: tuple[AccountStage, str, str]) -> None:
    stage, group, _ = linked
    one = await drifted(stage, group)
    before = await stage.get(one)
    assert (before.json["drifted"], before.json["drift_review"]) == (True, None)
    (finding,) = (await stage.get("findings", code="drift")).json["items"]
    assert (finding["severity"], finding["key"]) == ("notice", before.json["id"])
    stale = {"if-match": '"another"'}
    acknowledge = stage.path(f"{one}/drift/acknowledge")
    assert (await stage.api.send("POST", acknowledge, {}, headers=stale)).status in {400, 412}
    reviewed = await stage.change("POST", f"{one}/drift/acknowledge", {"note": " planned "}, of=one)
    assert (reviewed.status, reviewed.json["drifted"], reviewed.json["drift_total"]) == (200, False, 1)
    assert (reviewed.json["drift_review"]["note"], reviewed.json["drift_review"]["by"]["name"]) == ("planned", "Root")
    assert reviewed.headers["ETag"] != before.headers["ETag"]
    assert (await stage.get("keys", drifted="true")).json["items"] == []
    assert (await stage.get("findings", code="drift")).json["items"] == []
    assert len((await stage.get(f"{one}/drift")).json["items"]) == 1
    again = await stage.api.send("POST", acknowledge, headers={"if-match": before.headers["ETag"]})
    assert again.code == "stale_write"
    assert (await stage.post(f"{one}/drift/acknowledge")).json["history"] == reviewed.json["history"]
    assert (await stage.post(f"{one}/drift/acknowledge", {"note": "a\x07"})).code == "reason_invalid"


async def test_rotation_by_the_vault_is_shown_and_switched_off(linked: tuple[AccountStage, str, str]) -> None:
    stage, group, _ = linked
    listed = next(key for key in (await stage.get("keys")).json["items"] if key["azure_name"] == "key-002")
    records = stage.premises.stage.made.records
    await records.amend(stage.account, group, listed["id"], lambda present: replace(present, origin=KeyOrigin.IMPORTED))
    stage.premises.stage.vault.policies["key-002"] = RotationPolicy(rotate_before_expiry="P30D", expires_after="P90D")
    await run(stage, await stage.post(f"groups/{group}/sync", {"mode": "full"}))
    one = f"groups/{group}/keys/{listed['id']}"
    shown = (await stage.get(one)).json["vault_rotation"]
    assert (shown["rotates"], shown["rotate_before_expiry"], shown["known"]) == (True, "P30D", True)
    assert [item["key"] for item in (await stage.get("findings", code="native_rotation")).json["items"]] == [
        listed["id"]
    ]
    off = await stage.post(f"{one}/vault-rotation/disable")
    assert (off.status, off.json["vault_rotation"]["rotates"]) == (200, False)
    assert off.json["history"][0]["event"] == "key.vault_rotation_disabled"
    assert (await stage.get("findings", code="native_rotation")).json["items"] == []


async def test_source_keys_are_in_no_vault(stage: AccountStage) -> None:
    source = (await stage.post("groups", {"kind": "source", "title": "Sources"})).json["id"]
    body = {"name": "master", "type": "EC", "curve": "P-256"}
    key = (await stage.post(f"groups/{source}/keys", body)).json
    for what in ("drift/acknowledge", "vault-rotation/disable"):
        assert (await stage.post(f"groups/{source}/keys/{key['id']}/{what}")).code == "virtual_key_only"
