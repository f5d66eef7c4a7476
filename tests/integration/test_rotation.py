"""Rotation over HTTP, with real keys: what the new version signs, what the old one still verifies, and who may ask."""

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys.aio import KeyClient
from azure.keyvault.keys.crypto import SignatureAlgorithm
from azure.keyvault.keys.crypto.aio import CryptographyClient

from tests.integration.azure import Vault
from tests.integration.client import Json
from tests.integration.estate import Estate, Site
from tests.integration.faulty_vaults import in_each
from tests.integration.material import AES, a_key, asked, assert_held, base64_of

DIGEST = hashlib.sha256(b"a contract").digest()
ES256, RS256 = SignatureAlgorithm.es256, SignatureAlgorithm.rs256
DAY = 86_400


@dataclass(frozen=True)
class Signed:
    """A signature that a vault made with one version of a key."""

    kid: str
    signature: bytes


async def sign(owner: KeyClient, name: str, algorithm: SignatureAlgorithm = ES256) -> Signed:
    """Sign with the current version."""
    made = await owner.get_cryptography_client(name).sign(algorithm, DIGEST)
    assert made.key_id is not None
    return Signed(made.key_id, made.signature)


async def verifies(owner: KeyClient, signed: Signed, kid: str, algorithm: SignatureAlgorithm = ES256) -> bool:
    """Ask the vault whether a version verifies a signature."""
    name, version = kid.split("/")[-2:]
    client: CryptographyClient = owner.get_cryptography_client(name, key_version=version)
    return bool((await client.verify(algorithm, DIGEST, signed.signature)).is_valid)


async def generated(estate: Estate, group: str, **members: Any) -> Json:
    body = {"azure_name": "k", "type": "EC", "curve": "P-256", **members}
    key: Json = await estate.api.post(f"groups/{group}/keys", body)
    return key


def path_of(key: Json) -> str:
    return f"groups/{key['group']['id']}/keys/{key['id']}"


async def rotated(estate: Estate, key: Json, body: Json | None = None) -> Json:
    shown: Json = await estate.api.post(f"{path_of(key)}/rotate", body)
    return shown


async def assert_in_step(estate: Estate, group: str, count: int) -> None:
    """What was recorded is what a sync would have found."""
    assert (await estate.sync(group))["progress"]["counts"] == {"discovered": count, "unchanged": count}
    assert await estate.keys(group, drifted="true") == {}


# --- in a vault ---------------------------------------------------------------------------------------------------


async def test_a_native_key_of_every_vault_gets_a_version_that_signs(site: Site) -> None:
    skus = ("standard", "premium", "managed_hsm")
    await in_each(site, rotates_in, [(sku, family) for sku in skus for family in ("EC", "RSA")])


async def rotates_in(estate: Estate, sku: str, family: str) -> None:
    vault, group = await estate.vault_group(sku)
    kind = {"type": "EC", "curve": "P-256"} if family == "EC" else {"type": "RSA", "size": 2048}
    algorithm = ES256 if family == "EC" else RS256
    key = await estate.api.post(f"groups/{group}/keys", {"azure_name": "k", "tags": {"a": "b"}, **kind})
    async with estate.azure.owner(vault) as owner:
        before = await sign(owner, "k", algorithm)
        shown = await rotated(estate, key)
        after = await sign(owner, "k", algorithm)
        assert (after.kid, before.kid) == tuple(one["kid"] for one in shown["versions"])
        assert await verifies(owner, before, before.kid, algorithm), "the old version still verifies"
        assert await verifies(owner, after, after.kid, algorithm)
        assert not await verifies(owner, before, after.kid, algorithm)
    assert (shown["id"], shown["name"], shown["origin"], shown["type"]) == (
        key["id"], key["name"], "native", key["type"],
    )  # fmt: skip
    assert (shown["operations"], shown["tags"], shown["expires_on"]) == (key["operations"], {"a": "b"}, None)
    assert set(shown["escrow"][0]["versions"]) == {one["id"] for one in shown["versions"]}
    assert (shown["escrow_pending"], shown["pending"], shown["drift"]) == (False, None, [])
    assert [one["event"] for one in shown["history"][:2]] == ["key.rotated", "key.escrowed"]
    await assert_in_step(estate, group, 1)


async def test_dates_and_the_previous_version(estate: Estate) -> None:
    vault, group = await estate.vault_group()
    expires_on = (datetime.now(UTC) + timedelta(days=90)).replace(microsecond=0)
    key = await generated(estate, group, expires_on=expires_on.isoformat())
    async with estate.azure.owner(vault) as owner:
        old = await sign(owner, "k")
        shown = await rotated(estate, key, {"previous": {"action": "deactivate"}})
        lifetime = datetime.fromisoformat(shown["expires_on"]) - expires_on
        assert timedelta() <= lifetime < timedelta(minutes=2), "it lives as long as the one before it"
        assert [one["enabled"] for one in shown["versions"]] == [True, False]
        assert (shown["retirements"], shown["history"][0]["event"]) == ([], "key.version_retired")
        retired = owner.get_cryptography_client("k", key_version=old.kid.split("/")[-1])
        with pytest.raises(HttpResponseError, match="disabled"):
            await retired.sign(ES256, DIGEST)
        grace = {"previous": {"action": "deactivate", "grace_days": 2}, "expires_on": "2099-01-01T00:00:00Z"}
        shown = await rotated(estate, key, grace)
        assert (shown["expires_on"], len(shown["retirements"])) == ("2099-01-01T00:00:00Z", 1)
        assert shown["retirements"][0]["version"] == shown["versions"][1]["id"]
        await estate.site.stack.host.run_function("retire_previous_versions")
        assert (await owner.get_key("k", version=shown["versions"][1]["id"])).properties.enabled
        async with estate.site.product_clock(2 * DAY + 60):
            await estate.site.stack.host.run_function("retire_previous_versions")
            shown = await settled_retirement(estate, key)
        assert [one["enabled"] for one in shown["versions"]] == [True, False, False]
        assert not (await owner.get_key("k", version=shown["versions"][1]["id"])).properties.enabled
    await assert_in_step(estate, group, 1)


async def settled_retirement(estate: Estate, key: Json) -> Json:
    async def look() -> Json | None:
        shown: Json = await estate.api.get(path_of(key))
        return None if shown["retirements"] else shown

    return await estate.site.until(look, within=20)


async def test_a_repetition_rotates_once_and_a_stale_caller_not_at_all(estate: Estate) -> None:
    vault, group = await estate.vault_group()
    key = await generated(estate, group)
    etag = (await estate.api.done("GET", path_of(key))).etag
    once = {"Idempotency-Key": "once", "If-Match": etag}
    first = await estate.api.done("POST", f"{path_of(key)}/rotate", {}, headers=once)
    again = await estate.api.done("POST", f"{path_of(key)}/rotate", {}, headers=once)
    assert first.json == again.json
    stale = {"If-Match": etag}
    await estate.api.refused("POST", f"{path_of(key)}/rotate", {}, status=412, code="stale_write", headers=stale)
    assert (await estate.azure.requests(vault, status=200))["create_key"] == 2


async def test_the_symmetric_key_of_a_managed_hsm(estate: Estate) -> None:
    _, group = await estate.vault_group("managed_hsm")
    key = await estate.api.post(f"groups/{group}/keys", {"azure_name": "k", "type": "AES", "size": 128})
    await estate.api.refused("POST", f"{path_of(key)}/rotate", {}, status=409, code="key_size_unknown")
    shown = await rotated(estate, key, {"size": 128})
    assert (shown["versions_total"], shown["type"]) == (2, "oct-HSM")
    await assert_in_step(estate, group, 1)


async def test_a_managed_hsm_takes_a_hundred_versions(estate: Estate) -> None:
    vault, group = await estate.vault_group("managed_hsm")
    await estate.azure.add_keys(vault, {"name": "full", "kty": "EC-HSM", "versions": 100})
    await estate.sync(group)
    key = await estate.key(group, "full")
    before = await estate.azure.requests(vault)
    problem = await estate.api.refused("POST", f"{path_of(key)}/rotate", {}, status=409, code="version_limit")
    assert problem["limit"] == 100
    assert (await estate.azure.requests(vault)).get("create_key") == before.get("create_key")


# --- with material of a source key --------------------------------------------------------------------------------


async def a_source(estate: Estate, kind: str = "EC P-256", number: int = 0) -> Json:
    """Import the tests' key of a kind as a source key that may leave."""
    group, material = await estate.source_group(), a_key(estate.site.ledger, kind, number)
    permissions = ["export", "encrypt", "decrypt"] if kind in AES else ["export", "sign", "verify"]
    body = {"name": "master", **asked(kind), "permissions": permissions}
    key: Json = await estate.api.post(
        f"groups/{group}/keys/import", {**body, "material": {"value": base64_of(material.content)}}
    )
    return key


def named(source: Json, **members: Any) -> Json:
    return {"source": {"group": source["group"]["id"], "key": source["id"], **members}}


async def test_a_native_key_gets_the_material_of_a_source_key(site: Site) -> None:
    cases = [("standard", "EC P-256"), ("premium", "EC P-256"), ("managed_hsm", "EC P-256"), ("premium", "RSA 2048")]
    await in_each(site, becomes_a_copy, cases)


async def becomes_a_copy(estate: Estate, sku: str, kind: str) -> None:
    vault, group = await estate.vault_group(sku)
    source, algorithm = await a_source(estate, kind), ES256 if kind.startswith("EC") else RS256
    key = await estate.api.post(f"groups/{group}/keys", {"azure_name": "k", **asked(kind)})
    async with estate.azure.owner(vault) as owner:
        before = await sign(owner, "k", algorithm)
        shown = await rotated(estate, key, named(source))
        await assert_held(owner, "k", a_key(estate.site.ledger, kind))
        assert await verifies(owner, before, before.kid, algorithm)
    link = shown["copied_from"]
    assert (shown["id"], shown["origin"], shown["type"]) == (key["id"], "keysteward", key["type"])
    assert (link["key"], link["source_version"], link["material_matches"]) == (source["id"], 1, True)
    assert [one["source_version"] for one in shown["versions"]] == [1, None]
    (back,) = await estate.api.pages(f"{path_of(source)}/copies")
    assert (back["key"], back["source_version"], back["azure_name"]) == (key["id"], 1, "k")
    await estate.api.refused("POST", f"{path_of(key)}/rotate", {}, status=409, code="key_at_source_version")
    counts = (await estate.sync(group))["progress"]["counts"]
    assert "updated" not in counts
    assert await estate.keys(group, drifted="true") == {}


async def test_what_cannot_be_a_next_version_is_refused_before_anything_is_sent(estate: Estate) -> None:
    vault, group = await estate.vault_group()
    key = await generated(estate, group)
    other = await a_source(estate, "EC P-384")
    kept = await estate.api.post(
        f"groups/{other['group']['id']}/keys", {"name": "kept", "type": "EC", "permissions": ["sign"]}
    )
    imported = await estate.api.post(
        f"groups/{group}/keys/import",
        {"azure_name": "mine", "material": {"value": base64_of(a_key(estate.site.ledger, "EC P-256").content)}},
    )
    source = await a_source(await estate.site.estate())
    before = await estate.azure.requests(vault)
    cases: tuple[tuple[Json, Json, int, str, str | None], ...] = (
        (key, named(other), 422, "rotation_type_mismatch", None),
        (key, named(kept), 409, "key_permission_missing", None),
        (key, named(source), 404, "key_not_found", None),
        (key, named(other, version=7), 404, "key_version_not_found", "version"),
        (key, {"copies": "all"}, 400, "field_for_other_kind", "copies"),
        (key, {**named(other), "size": 256}, 400, "rotation_invalid", "size"),
        (key, {"previous": {"grace_days": 1}}, 400, "rotation_invalid", "previous.action"),
        (key, {"previous": {"action": "deactivate", "grace_days": 366}}, 400, "invalid_field", "previous.grace_days"),
        (key, {"expires_on": "2001-01-01T00:00:00Z"}, 400, "dates_invalid", "expires_on"),
        (key, {"copies": "some"}, 400, "invalid_field", None),
        (key, {"colour": "red"}, 400, "unknown_field", "colour"),
        (imported, {}, 409, "own_material_needed", None),
        (other, named(other), 400, "field_for_other_kind", "source"),
        (other, {"copies": [key["id"]]}, 409, "not_a_copy", "copies.0"),
    )
    for which, body, status, code, field in cases:
        problem = await estate.api.refused("POST", f"{path_of(which)}/rotate", body, status=status, code=code)
        assert field is None or problem["field"] == field, problem
    after = await estate.azure.requests(vault)
    for operation in ("create_key", "import_key", "update_key"):
        assert after.get(operation) == before.get(operation)
    assert (await estate.api.get(path_of(key)))["pending"] is None


async def test_an_imported_key_takes_new_material_as_json_or_as_a_file(estate: Estate) -> None:
    vault, group = await estate.vault_group("premium")
    first, second, third = (a_key(estate.site.ledger, "EC P-256", number) for number in range(3))
    body = {"azure_name": "k", "material": {"value": base64_of(first.content)}}
    key = await estate.api.post(f"groups/{group}/keys/import", body)
    shown = await rotated(estate, key, {"material": {"value": base64_of(second.content)}})
    assert (shown["origin"], shown["versions_total"]) == ("imported", 2)
    reply = await estate.upload(f"{path_of(key)}/rotate", {}, third.content)
    assert (reply.status, reply.json["versions_total"]) == (200, 3)
    wrong = {"material": {"value": base64_of(a_key(estate.site.ledger, "EC P-384").content)}}
    await estate.api.refused("POST", f"{path_of(key)}/rotate", wrong, status=400, code="material_curve_mismatch")
    async with estate.azure.owner(vault) as owner:
        await assert_held(owner, "k", third)


# --- source keys and their copies ---------------------------------------------------------------------------------


async def copied(estate: Estate, source: Json, *groups: str, **members: Any) -> list[Json]:
    body = {"targets": [{"group": group, **members} for group in groups]}
    job = await estate.settled(await estate.api.post(f"{path_of(source)}/copies", body))
    assert job["status"] == "succeeded", job
    return [await estate.api.get(f"groups/{one['group']}/keys/{one['key']}") for one in job["results"]]


async def ordered(estate: Estate, source: Json, body: Json) -> Json:
    """Rotate a source key with copies; return the job, ended."""
    reply = await estate.api.done("POST", f"{path_of(source)}/rotate", body)
    assert reply.status == 202
    assert reply.headers["Location"].endswith(f"/jobs/{reply.json['id']}")
    return await estate.settled(reply.json)


async def test_a_source_key_is_rotated_with_its_copies_everywhere(estate: Estate) -> None:
    source, second = await a_source(estate), a_key(estate.site.ledger, "EC P-256", 1)
    places = await asyncio.gather(*map(estate.vault_group, ("standard", "premium", "managed_hsm")))
    away = await estate.source_group()
    copies = await copied(estate, source, *(group for _, group in places), away)
    signed = [await signed_in(estate, vault, copy) for (vault, _), copy in zip(places, copies, strict=False)]
    body = {
        "material": {"value": base64_of(second.content)},
        "copies": "all",
        "previous": {"action": "deactivate", "grace_hours": 36},
    }
    job = await ordered(estate, source, body)
    assert (job["kind"], job["status"], job["progress"]["total"], job["options"]["version"]) == (
        "rotate", "succeeded", 4, "2",
    )  # fmt: skip
    assert {one["status"] for one in job["results"]} == {"done"}
    shown = await estate.api.get(path_of(source))
    assert (shown["versions_total"], {one["source_version"] for one in shown["copies"]}) == (2, {2})
    made = {one["key"]: one["version"] for one in job["results"]}
    for (vault, group), copy, old in zip(places, copies, signed, strict=False):
        now = await estate.api.get(path_of(copy))
        assert made[copy["id"]] == now["versions"][0]["id"]
        assert (now["copied_from"]["source_version"], now["copied_from"]["material_matches"]) == (2, True)
        assert (now["escrow_pending"], len(now["retirements"])) == (False, 1)
        async with estate.azure.owner(vault) as owner:
            await assert_held(owner, copy["azure_name"], second)
            assert await verifies(owner, old, old.kid), "what was signed before still verifies"
        assert "updated" not in (await estate.sync(group))["progress"]["counts"]
        assert await estate.keys(group, drifted="true") == {}
    kept = await estate.api.get(f"{path_of(copies[3])}/public-key")
    assert kept["pem"] == second.public_pem
    assert (await estate.api.get(path_of(copies[3])))["copied_from"]["source_version"] == 2


async def signed_in(estate: Estate, vault: Vault, copy: Json) -> Signed:
    async with estate.azure.owner(vault) as owner:
        return await sign(owner, copy["azure_name"])


async def test_a_copy_that_fails_is_said_and_made_up_for(estate: Estate) -> None:
    source = await a_source(estate)
    (_, near_group), (away, away_group) = await estate.vault_group(), await estate.vault_group("premium")
    kept, lost = await copied(estate, source, near_group, away_group)
    await estate.azure.forbid(away, "import")
    job = await ordered(estate, source, {"copies": [kept["id"], lost["id"]]})
    assert (job["status"], [(one["status"], one["code"]) for one in job["results"]]) == (
        "failed", [("done", None), ("failed", "vault_denied")],
    )  # fmt: skip
    at = {one["key"]: one["source_version"] for one in await estate.api.pages(f"{path_of(source)}/copies")}
    assert at == {kept["id"]: 2, lost["id"]: 1}
    finding = (await estate.findings(away_group))["rotation_failed"]
    assert (finding["key"], finding["severity"]) == (lost["id"], "warning")
    await estate.azure.permit(away, "import")
    shown = await rotated(estate, lost)
    assert shown["copied_from"]["source_version"] == 2
    assert "rotation_failed" not in await estate.findings(away_group)
    assert {one["source_version"] for one in await estate.api.pages(f"{path_of(source)}/copies")} == {2}


async def test_a_vault_that_is_away_does_not_hold_the_others_up(estate: Estate) -> None:
    source = await a_source(estate)
    (_, near_group), (away, away_group) = await estate.vault_group(), await estate.vault_group("premium")
    near, far = await copied(estate, source, near_group, away_group)
    outage = {"kind": "respond", "status": 503, "code": "Busy", "headers": {"Retry-After": "90"}}
    async with estate.azure.fault(away, outage):
        reply = await estate.api.done("POST", f"{path_of(source)}/rotate", {"copies": "all"})
        waiting = await estate.job_when(reply.json, lambda one: one["not_before"] is not None, within=20)
        assert [(one["status"], one["code"]) for one in waiting["results"]] == [
            ("done", None), ("pending", "vault_unavailable"),
        ]  # fmt: skip
    async with estate.site.product_clock(600):
        await estate.site.stack.host.run_function("reconcile_jobs")
        ended = await estate.settled(waiting)
    assert ended["status"] == "succeeded", ended
    for copy in (near, far):
        assert (await estate.api.get(path_of(copy)))["copied_from"]["source_version"] == 2


async def test_who_rotates_needs_the_permission_in_every_group(estate: Estate) -> None:
    source = await a_source(estate)
    _, group = await estate.vault_group()
    (copy,) = await copied(estate, source, group)
    its_group = source["group"]["id"]
    only_source = await estate.application({its_group: "operator", group: "auditor"})
    problem = await only_source.refused(
        "POST", f"{path_of(source)}/rotate", {"copies": "all"}, status=403, code="not_permitted"
    )
    assert problem["permission"] == "key.rotate"
    assert (await only_source.post(f"{path_of(source)}/rotate", {}))["versions_total"] == 2
    only_vault = await estate.application({group: "operator"})
    await only_vault.refused("POST", f"{path_of(copy)}/rotate", {}, status=404, code="group_not_found")
    reader = await estate.application({group: "operator", its_group: "auditor"})
    problem = await reader.refused("POST", f"{path_of(copy)}/rotate", {}, status=403, code="not_permitted")
    assert problem["permission"] == "key.copy"
    both = await estate.application({group: "operator", its_group: "operator"})
    assert (await both.post(f"{path_of(copy)}/rotate", {}))["copied_from"]["source_version"] == 2
    auditor = await estate.application({group: "auditor", its_group: "auditor"})
    for method, path in (("POST", "rotate"), ("POST", "reimport"), ("DELETE", "rotation-schedule")):
        body = {} if method == "POST" else None
        await auditor.refused(method, f"{path_of(copy)}/{path}", body, status=403, code="not_permitted")


# --- re-import ----------------------------------------------------------------------------------------------------


async def test_a_purged_copy_comes_back_from_its_source(estate: Estate) -> None:
    source = await a_source(estate)
    vault, group = await estate.vault_group("premium")
    (copy,) = await copied(estate, source, group, tags={"a": "b"})
    await estate.api.refused("POST", f"{path_of(copy)}/reimport", {}, status=409, code="key_live")
    await estate.api.refused("POST", f"{path_of(source)}/reimport", {}, status=409, code="virtual_key_only")
    async with estate.azure.owner(vault) as owner:
        before = await sign(owner, copy["azure_name"])
        await owner.delete_key(copy["azure_name"])
        await estate.api.refused("POST", f"{path_of(copy)}/reimport", {}, status=409, code="key_soft_deleted")
        await owner.purge_deleted_key(copy["azure_name"])
        reply = await estate.api.done("POST", f"{path_of(copy)}/reimport", {})
        if reply.status == 202:
            await estate.settled(reply.json)
        await assert_held(owner, copy["azure_name"], a_key(estate.site.ledger, "EC P-256"))
        shown = await estate.api.get(path_of(copy))
        assert await verifies(owner, before, shown["versions"][0]["kid"]), "signatures of before verify with it"
    assert (shown["id"], shown["name"], shown["state"], shown["tags"]) == (
        copy["id"],
        copy["name"],
        "active",
        {"a": "b"},
    )
    assert (shown["versions_total"], len(shown["escrow"]), shown["escrow_pending"]) == (1, 2, False)
    assert shown["versions"][0]["id"] != copy["versions"][0]["id"]
    assert (shown["copied_from"]["source_version"], shown["copied_from"]["material_matches"]) == (1, True)
    events = [one["event"] for one in shown["history"]]
    assert {"key.copied", "key.reimported"} <= set(events), "history goes on"
    assert "updated" not in (await estate.sync(group))["progress"]["counts"]


# --- schedules ----------------------------------------------------------------------------------------------------


async def test_a_schedule_is_kept_shown_and_guarded(estate: Estate) -> None:
    _, group = await estate.vault_group()
    key = await generated(estate, group)
    path = f"{path_of(key)}/rotation-schedule"
    await estate.api.refused("GET", path, status=404, code="rotation_schedule_not_found")
    body = {
        "every_months": 1,
        "start": "2090-01-31T02:30:00",
        "time_zone": "Europe/Berlin",
        "previous": {"action": "deactivate", "grace_days": 1, "grace_hours": 12},
    }
    reply = await estate.api.done("PUT", path, body)
    shown = reply.json
    assert (shown["every_months"], shown["every_days"], shown["days_before_expiry"]) == (1, None, None)
    assert (shown["start"], shown["next_run_on"]) == ("2090-01-31T02:30:00", "2090-01-31T01:30:00Z")
    assert (shown["previous"], shown["paused"], shown["rotate_copies"]) == (body["previous"], False, False)
    assert await estate.api.get(path) == shown == (await estate.api.get(path_of(key)))["rotation_schedule"]
    paused = (await estate.api.done("PUT", path, {**body, "paused": True}, headers={"If-Match": reply.etag})).json
    assert (paused["paused"], paused["next_run_on"]) == (True, None)
    stale = {"If-Match": reply.etag}
    await estate.api.refused("PUT", path, body, status=412, code="stale_write", headers=stale)
    await estate.api.refused("DELETE", path, status=412, code="stale_write", headers=stale)
    assert (await estate.api.done("DELETE", path)).status == 204
    await estate.api.refused("DELETE", path, status=404, code="rotation_schedule_not_found")
    wrong: tuple[tuple[Json, str, str], ...] = (
        ({"start": "2090-01-31T02:30:00"}, "rotation_schedule_invalid", "every_days"),
        ({**body, "every_days": 3}, "rotation_schedule_invalid", "every_months"),
        ({**body, "every_months": 0}, "invalid_field", "every_months"),
        ({**body, "start": "2090-01-31T02:30:00Z"}, "invalid_field", "start"),
        ({**body, "start": "next week"}, "invalid_field", "start"),
        ({**body, "time_zone": "Europe/Nowhere"}, "rotation_schedule_invalid", "time_zone"),
        ({"days_before_expiry": 30, "start": "2090-01-31T02:30:00"}, "rotation_schedule_invalid", "days_before_expiry"),
        ({**body, "rotate_copies": True}, "rotation_schedule_invalid", "rotate_copies"),
        ({**body, "cron": "* * * * *"}, "unknown_field", "cron"),
    )
    for refused, code, field in wrong:
        problem = await estate.api.refused("PUT", path, refused, status=400, code=code)
        assert problem["field"] == field, problem


async def test_a_schedule_rotates_what_is_due_once_and_late(estate: Estate) -> None:
    vault, group = await estate.vault_group()
    native = await generated(estate, group)
    source = await a_source(estate)
    (copy,) = await copied(estate, source, group)
    await estate.api.refused(
        "PUT",
        f"{path_of(copy)}/rotation-schedule",
        {"every_days": 1, "start": "2090-01-01T00:00:00"},
        status=409,
        code="schedule_on_copy",
    )
    start = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0, tzinfo=None)
    schedule = {"every_days": 30, "start": start.isoformat()}
    await estate.api.put(f"{path_of(native)}/rotation-schedule", schedule)
    await estate.api.put(f"{path_of(source)}/rotation-schedule", {**schedule, "rotate_copies": True})
    host = estate.site.stack.host
    await host.run_function("rotate_due_keys")
    async with estate.site.product_clock(75 * DAY):
        await asyncio.gather(*(host.run_function("rotate_due_keys") for _ in range(3)))

        async def look() -> list[Json] | None:
            jobs = [job for job in await estate.api.pages("jobs") if job["kind"] == "rotate"]
            return jobs if len(jobs) == 2 and all(job["ended_on"] for job in jobs) else None

        jobs = await estate.site.until(look)
        assert {(job["status"], job["requested_by"]["kind"]) for job in jobs} == {("succeeded", "timer")}
        await host.run_function("rotate_due_keys")
        await asyncio.sleep(0.5)
        assert len([job for job in await estate.api.pages("jobs") if job["kind"] == "rotate"]) == 2, (
            "missed runs are one"
        )
    shown = await estate.api.get(path_of(native))
    assert shown["versions_total"] == 2
    upcoming = (start + timedelta(days=90)).isoformat() + "Z"
    assert shown["rotation_schedule"]["next_run_on"] == upcoming
    assert shown["history"][0]["actor"]["name"] == "schedule"
    rotated_source = await estate.api.get(path_of(source))
    assert [one["source_version"] for one in rotated_source["copies"]] == [2]
    async with estate.azure.owner(vault) as owner:
        for name in ("k", copy["azure_name"]):
            after = await sign(owner, name)
            assert await verifies(owner, after, after.kid)
            assert len([one async for one in owner.list_properties_of_key_versions(name)]) == 2
