"""What is done to a key over HTTP: attributes, deactivation, deletion, purge, the end; by whom; and to source keys.

Every cell of the table is in test_state_table.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys.crypto import EncryptionAlgorithm, SignatureAlgorithm

from tests.integration.azure import CHANGING, HSM_ROLES, Vault
from tests.integration.client import Api, Json
from tests.integration.estate import Estate, Site
from tests.integration.faulty_vaults import in_each
from tests.integration.material import a_key, asked, base64_of

#: What it takes in a vault to end keys there, and to bring them back.
ENDING = (*CHANGING, "delete", "recover", "purge", "restore")
DESTRUCTIVE = ("key.purge", "key.delete", "key.without_escrow")
DIGEST = hashlib.sha256(b"a contract").digest()
ES256, RS256 = SignatureAlgorithm.es256, SignatureAlgorithm.rs256
FAR = "2099-01-01T00:00:00Z"
DAY = 86_400


@pytest_asyncio.fixture(scope="module", autouse=True)
async def prompt(site: Site) -> AsyncIterator[None]:
    """Vaults that show soon what they have accepted."""
    await site.control.put("timings", dict.fromkeys(("delete", "recover", "purge"), 0.2))
    yield
    await site.control.put("timings", {})


async def a_place(estate: Estate, sku: str = "standard", **members: Any) -> tuple[Vault, str]:
    """Make a vault in which Keysteward may end keys, and whose group lets the admin do so."""
    grant = HSM_ROLES if sku == "managed_hsm" else ENDING
    vault = await estate.azure.vault(sku, grant=grant, **members)
    group = await estate.link(vault)
    await allow(estate, group, *DESTRUCTIVE)
    return vault, group


async def allow(estate: Estate, group: str, *extra: str) -> None:
    """Give the admin permissions in a group that come with no role, and no others."""
    (admin,) = [one["id"] for one in await estate.api.pages("members") if one["role"] == "admin"]
    await estate.api.put(f"groups/{group}/members/{admin}", {"role": "admin", "extra": list(extra)})


async def made(estate: Estate, group: str, name: str = "k", versions: int = 1, **members: Any) -> str:
    """Make a key of so many versions; return its path."""
    body = {"azure_name": name, "type": "EC", "curve": "P-256", **members}
    key = await estate.api.post(f"groups/{group}/keys", body)
    path = f"groups/{group}/keys/{key['id']}"
    for _ in range(versions - 1):
        await estate.api.post(f"{path}/rotate", {})
    return path


def events(key: Json) -> list[str]:
    """Return what history says, oldest first, without escrows."""
    return [entry["event"] for entry in reversed(key["history"]) if entry["event"] != "key.escrowed"]


async def sync_finds_nothing(estate: Estate, group: str) -> None:
    """Check that a full sync finds no change that Keysteward did not make."""
    await estate.sync(group, "full")
    for listed in (await estate.keys(group)).values():
        whole = await estate.api.get(f"groups/{group}/keys/{listed['id']}")
        assert (whole["drift"], whole["pending"]) == ([], None), listed["azure_name"]


# --- attributes ---------------------------------------------------------------------------------------------------


async def test_attributes_are_the_vaults_and_each_versions_own(estate: Estate) -> None:
    vault, group = await a_place(estate)
    path = await made(estate, group, versions=2, tags={"env": "test"})
    changes = {"not_before": "2020-01-01T00:00:00Z", "expires_on": FAR, "operations": ["verify"], "tags": {"a": "1"}}
    shown = await estate.api.change("PATCH", path, changes)
    assert {name: shown[name] for name in changes} == changes
    older = await estate.api.change("PATCH", path, {"version": 1, "expires_on": "2098-01-01T00:00:00Z"})
    assert [one["expires_on"] for one in older["versions"]] == [FAR, "2098-01-01T00:00:00Z"]
    async with estate.azure.owner(vault) as owner:
        current = await owner.get_key("k")
        assert (current.properties.tags, current.key_operations) == ({"a": "1"}, ["verify"])
        assert current.properties.expires_on == datetime.fromisoformat(FAR)
        with pytest.raises(HttpResponseError):
            await owner.get_cryptography_client("k").sign(ES256, DIGEST)
        first = await owner.get_key("k", shown["versions"][1]["id"])
        assert (first.properties.tags, first.properties.expires_on.year) == ({"env": "test"}, 2098)
    assert events(shown)[-1] == "key.updated"
    assert (await estate.keys(group, expires_before="2100-01-01T00:00:00Z")).keys() == {"k"}
    await sync_finds_nothing(estate, group)


WRONG: list[tuple[Json, tuple[int, str, str]]] = [
    ({"expires_on": None}, (400, "date_not_removable", "expires_on")),
    ({"not_before": FAR, "expires_on": "2098-01-01T00:00:00Z"}, (400, "dates_invalid", "expires_on")),
    ({"tags": {str(n): "" for n in range(16)}}, (400, "tags_invalid", "tags")),
    ({"tags": {"a": "x" * 257}}, (400, "tags_invalid", "tags")),
    ({"operations": ["encrypt"]}, (422, "key_not_allowed", "operations")),
    ({"permissions": ["sign"]}, (400, "field_for_other_kind", "permissions")),
    ({"version": 3, "tags": {}}, (404, "key_version_not_found", "version")),
    ({"version": 0}, (400, "invalid_field", "version")),
    ({"enabled": False}, (400, "unknown_field", "enabled")),
]


async def test_what_is_wrong_with_an_update_is_named_and_not_sent(estate: Estate) -> None:
    vault, group = await a_place(estate)
    path = await made(estate, group)
    etag = {"If-Match": (await estate.api.done("GET", path)).etag}
    before = (await estate.azure.requests(vault))["update_key"]
    for body, (status, code, field) in WRONG:
        problem = await estate.api.refused("PATCH", path, body, status=status, code=code, headers=etag)
        assert problem["field"] == field, body
    await estate.api.refused("PATCH", path, {"tags": {}}, status=428, code="precondition_required")
    assert (await estate.azure.requests(vault))["update_key"] == before
    assert (await estate.api.done("GET", path)).etag == etag["If-Match"]


async def test_a_change_behind_the_back_is_drift_before_it_is_written_over(estate: Estate) -> None:
    vault, group = await a_place(estate, keys=[{"name": "k", "created_offset": -60}])
    await estate.sync(group)
    path = f"groups/{group}/keys/{(await estate.key(group, 'k'))['id']}"
    etag = {"If-Match": (await estate.api.done("GET", path)).etag}
    async with estate.azure.owner(vault) as owner:
        await owner.update_key_properties("k", tags={"by": "mallory"})
    await estate.api.refused("PATCH", path, {"tags": {}}, status=412, code="stale_write", headers=etag)
    seen = await estate.api.get(path)
    assert ([one["kind"] for one in seen["drift"]], seen["tags"]) == (["tags"], {"by": "mallory"})
    assert (await estate.api.change("PATCH", path, {"tags": {"by": "us"}}))["tags"] == {"by": "us"}
    await estate.sync(group)
    assert len((await estate.api.get(path))["drift"]) == 1


async def test_time_alone_moves_a_key(estate: Estate) -> None:
    _, group = await a_place(estate)
    now = datetime.now(UTC).replace(microsecond=0)
    begin, end = ((now + timedelta(days=days)).isoformat() for days in (10, 20))
    path = await made(estate, group, not_before=begin, expires_on=end)
    moments: dict[int, tuple[str, str | None]] = {
        0: ("pre-active", None),
        11: ("active", None),
        21: ("deactivated", "expired"),
    }
    for days, (state, reason) in moments.items():
        async with estate.site.product_clock(days * DAY):
            shown = await estate.api.get(path)
            assert (shown["state"], shown["state_reason"]) == (state, reason), days
            assert (await estate.keys(group, state=state)).keys() == {"k"}
    async with estate.site.product_clock(21 * DAY):
        await estate.api.refused("POST", f"{path}/activate", status=409, code="key_expired")
        moved = await estate.api.change("PATCH", path, {"expires_on": FAR})
        assert moved["state"] == "active"


# --- deactivation -------------------------------------------------------------------------------------------------


async def test_a_deactivated_key_neither_signs_nor_decrypts_in_any_version(estate: Estate) -> None:
    vault, group = await a_place(estate)
    path = await made(estate, group, "k", 3, type="RSA", size=2048, curve=None)
    async with estate.azure.owner(vault) as owner:
        versions = [one["id"] for one in (await estate.api.get(path))["versions"]]
        clients = [owner.get_cryptography_client("k", key_version=version) for version in versions]
        sealed = [(await client.encrypt(EncryptionAlgorithm.rsa_oaep_256, b"x")).ciphertext for client in clients]
        await estate.api.post(f"{path}/deactivate", {"reason": "old", "version": 1})
        off = await estate.api.post(f"{path}/deactivate", {"reason": "ticket 4711"})
        assert (off["state"], off["state_reason"], off["enabled"]) == ("deactivated", "disabled", False)
        assert (off["deactivation"]["reason"], off["deactivation"]["by"]["kind"]) == ("ticket 4711", "user")
        for client, ciphertext in zip(clients, sealed, strict=True):
            for use in (client.sign(RS256, DIGEST), client.decrypt(EncryptionAlgorithm.rsa_oaep_256, ciphertext)):
                with pytest.raises(HttpResponseError):
                    await use
        await estate.api.refused(
            "POST", f"{path}/deactivate", {"reason": "again"}, status=409, code="key_already_disabled"
        )
        on = await estate.api.post(f"{path}/activate")
        assert (on["state"], on["deactivation"]) == ("active", None)
        for client, ciphertext in zip(clients, sealed, strict=True):
            assert (await client.decrypt(EncryptionAlgorithm.rsa_oaep_256, ciphertext)).plaintext == b"x"
    assert events(on)[-3:] == ["key.deactivated", "key.deactivated", "key.activated"]
    await sync_finds_nothing(estate, group)


async def test_what_somebody_else_disabled_in_part_is_deactivated_whole(estate: Estate) -> None:
    vault, group = await a_place(estate)
    path = await made(estate, group, versions=2)
    async with estate.azure.owner(vault) as owner:
        await asyncio.sleep(1)  # Azure's times are whole seconds.
        await owner.update_key_properties("k", enabled=False)
        off = await estate.api.post(f"{path}/deactivate", {"reason": "the rest, too"})
        assert [one["enabled"] for one in off["versions"]] == [False, False]
        older = owner.get_cryptography_client("k", key_version=off["versions"][1]["id"])
        with pytest.raises(HttpResponseError):
            await older.sign(ES256, DIGEST)
    assert [one["kind"] for one in off["drift"]] == ["enabled"]


async def test_reasons(estate: Estate) -> None:
    _, group = await a_place(estate)
    path = await made(estate, group)
    for reason, code in (("", "invalid_field"), ("x" * 501, "invalid_field"), ("  ", "reason_invalid")):
        await estate.api.refused("POST", f"{path}/deactivate", {"reason": reason}, status=400, code=code)
    await estate.api.refused("POST", f"{path}/deactivate", {}, status=400, code="missing_field")


# --- the same request again ---------------------------------------------------------------------------------------


async def test_a_request_under_one_idempotency_key_is_done_once(estate: Estate) -> None:
    vault, group = await a_place(estate)
    path = await made(estate, group)
    steps: list[tuple[str, str, Json | None, str]] = [
        ("POST", "/deactivate", {"reason": "x"}, "update_key"),
        ("POST", "/activate", None, "update_key"),
        ("POST", "/soft-delete", {"acknowledge": True}, "delete_key"),
        ("POST", "/recover", None, "recover_deleted_key"),
        ("POST", "/soft-delete", {"acknowledge": True}, "delete_key"),
        ("POST", "/purge", None, "purge_deleted_key"),
        ("POST", "/restore", None, "restore_key"),
    ]
    for number, (method, verb, body, operation) in enumerate(steps):
        once = {"Idempotency-Key": f"step-{number}"}
        first = await estate.api.done(method, f"{path}{verb}", body, headers=once)
        asked_for = (await estate.azure.requests(vault))[operation]
        again = await estate.api.done(method, f"{path}{verb}", body, headers=once)
        assert again.json == first.json
        assert (await estate.azure.requests(vault))[operation] == asked_for, verb
    await sync_finds_nothing(estate, group)


# --- deletion -----------------------------------------------------------------------------------------------------


async def test_the_end_of_a_key_step_by_step(estate: Estate) -> None:
    vault, group = await a_place(estate)
    path = await made(estate, group, versions=2)
    await estate.api.refused("POST", f"{path}/soft-delete", {}, status=400, code="acknowledgement_needed")
    deleted = await estate.api.post(f"{path}/soft-delete", {"acknowledge": True})
    assert (deleted["state"], deleted["versions_total"]) == ("soft-deleted", 2)
    until = datetime.fromisoformat(deleted["deletion"]["scheduled_purge_on"])
    assert timedelta(days=89) < until - datetime.now(UTC) <= timedelta(days=90)
    back = await estate.api.post(f"{path}/recover")
    assert (back["state"], back["deletion"]) == ("active", None)
    assert [one["id"] for one in back["versions"]] == [one["id"] for one in deleted["versions"]]
    await estate.api.post(f"{path}/soft-delete", {"acknowledge": True})
    purged = await estate.api.post(f"{path}/purge")
    assert (purged["state"], len(purged["escrow"][0]["versions"])) == ("purged", 2)
    gone = await estate.api.done("DELETE", path)
    assert (gone.json["state"], gone.json["escrow"], gone.json["versions_total"]) == ("destroyed", [], 2)
    for verb in ("restore", "recover", "purge"):
        await estate.api.refused("POST", f"{path}/{verb}", status=409, code="key_destroyed")
    assert events(gone.json)[-5:] == [
        "key.soft_deleted", "key.recovered", "key.soft_deleted", "key.purged", "key.destroyed",
    ]  # fmt: skip
    await estate.sync(group)
    assert (await estate.keys(group, state="destroyed")).keys() == {"k"}
    async with estate.azure.owner(vault) as owner:
        assert [key.name async for key in owner.list_properties_of_keys()] == []
    # The name is free, in the vault and in Keysteward.
    again = await made(estate, group)
    await estate.api.post(f"{again}/soft-delete", {"acknowledge": True})
    assert (await estate.api.get(path))["state"] == "destroyed"
    await estate.sync(group)
    states = [key["state"] for key in await estate.api.pages("keys", group=group)]
    assert sorted(states) == ["destroyed", "soft-deleted"]


async def test_purge_protection_is_explained_and_ends_with_the_retention(estate: Estate) -> None:
    vault, group = await a_place(estate, purge_protection=True, retention_days=7)
    path = await made(estate, group)
    deleted = await estate.api.post(f"{path}/soft-delete", {"acknowledge": True})
    date = deleted["deletion"]["scheduled_purge_on"]
    before = (await estate.azure.requests(vault))["purge_deleted_key"]
    problem = await estate.api.refused("POST", f"{path}/purge", status=409, code="purge_protected")
    assert datetime.fromisoformat(problem["scheduled_purge_on"]) == datetime.fromisoformat(date)
    assert date[:10] in problem["detail"]
    assert (await estate.azure.requests(vault))["purge_deleted_key"] == before
    await estate.api.refused("DELETE", path, status=409, code="key_soft_deleted")
    await estate.site.control.put("clock", {"offset_seconds": 8 * DAY})
    try:
        await estate.sync(group)
        purged = await estate.api.get(path)
        assert (purged["state"], [one["kind"] for one in purged["drift"]]) == ("purged", ["vanished"])
        assert (await estate.api.post(f"{path}/restore"))["state"] == "active"
    finally:
        await estate.site.control.put("clock", {"offset_seconds": 0})


async def test_protection_that_was_switched_on_since_is_explained_too(estate: Estate) -> None:
    vault, group = await a_place(estate)
    path = await made(estate, group)
    await estate.api.post(f"{path}/soft-delete", {"acknowledge": True})
    await estate.site.control.patch(f"vaults/{vault.name}", {"purge_protection": True})
    problem = await estate.api.refused("POST", f"{path}/purge", status=409, code="purge_protected")
    assert problem["scheduled_purge_on"]
    shown = await estate.api.get(path)
    assert (shown["state"], shown["pending"], events(shown)[-1]) == ("soft-deleted", None, "key.purge_not_done")


async def test_what_a_certificate_holds_is_left_to_it(estate: Estate) -> None:
    _, group = await a_place(estate, keys=[{"name": "k", "managed": True}])
    await estate.sync(group)
    path = f"groups/{group}/keys/{(await estate.key(group, 'k'))['id']}"
    await estate.api.refused("POST", f"{path}/soft-delete", {"acknowledge": True}, status=409, code="key_managed")
    assert (await estate.api.get(path))["state"] == "active"


# --- escrow -------------------------------------------------------------------------------------------------------


async def test_what_is_not_escrowed_is_escrowed_before_it_is_deleted(estate: Estate) -> None:
    vault, group = await a_place(estate)
    path = await made(estate, group)
    async with estate.azure.owner(vault) as owner:
        await owner.rotate_key("k")
    deleted = await estate.api.post(f"{path}/soft-delete", {"acknowledge": True})
    assert (deleted["escrow_pending"], len(deleted["escrow"][0]["versions"])) == (False, 2)
    assert [one["kind"] for one in deleted["drift"]] == ["new_version"]
    purged = await estate.api.post(f"{path}/purge")
    assert purged["state"] == "purged"
    assert (await estate.api.post(f"{path}/restore"))["versions_total"] == 2


async def test_without_escrow_nothing_ends_unless_somebody_says_so(estate: Estate) -> None:
    vault, group = await a_place(estate, keys=[{"name": "deleted", "deleted": True}])
    live = await made(estate, group, "live")
    await estate.sync(group)
    deleted = f"groups/{group}/keys/{(await estate.key(group, 'deleted'))['id']}"
    await estate.azure.forbid(vault, "backup")
    async with estate.azure.owner(vault) as owner:
        await owner.rotate_key("live")
        problem = await estate.api.refused("POST", f"{deleted}/purge", status=409, code="escrow_needed")
        assert problem["versions"] == [one["id"] for one in (await estate.api.get(deleted))["versions"]]
        body = {"acknowledge": True}
        problem = await estate.api.refused("POST", f"{live}/soft-delete", body, status=409, code="escrow_needed")
        assert problem["problem"] == "vault_denied"
        await allow(estate, group, "key.purge")
        ways: tuple[tuple[str, str, Json], ...] = ((deleted, "purge", {}), (live, "soft-delete", body))
        for path, verb, content in ways:
            everything = {**content, "without_escrow": True}
            lacking = await estate.api.refused("POST", f"{path}/{verb}", everything, status=403, code="not_permitted")
            assert lacking["permission"] == "key.without_escrow"
        await allow(estate, group, *DESTRUCTIVE)
        for path, verb, content in ways:
            shown = await estate.api.post(f"{path}/{verb}", {**content, "without_escrow": True})
            assert shown["history"][0]["detail"] == "without escrow"
        assert [key.name async for key in owner.list_deleted_keys()] == ["live"]


# --- who may ------------------------------------------------------------------------------------------------------


async def test_destructive_permissions_come_one_by_one(estate: Estate) -> None:
    _, group = await a_place(estate)
    await allow(estate, group)
    path = await made(estate, group)
    await estate.api.post(f"{path}/soft-delete", {"acknowledge": True})

    async def lacks(api: Api, method: str, where: str, permission: str, body: Json | None = None) -> None:
        problem = await api.refused(method, where, body, status=403, code="not_permitted")
        assert problem["permission"] == permission

    await lacks(estate.api, "POST", f"{path}/purge", "key.purge")
    await allow(estate, group, "key.delete", "key.without_escrow")
    await lacks(estate.api, "POST", f"{path}/purge", "key.purge", {"without_escrow": True})
    await allow(estate, group, "key.purge")
    await estate.api.post(f"{path}/purge")
    await lacks(estate.api, "DELETE", path, "key.delete")
    await allow(estate, group, "key.delete")
    assert (await estate.api.done("DELETE", path)).json["state"] == "destroyed"


async def test_roles(estate: Estate) -> None:
    _, group = await a_place(estate)
    path = await made(estate, group)
    operator = await estate.application({group: "operator"})
    auditor = await estate.application({group: "auditor"})
    stranger = await estate.application({})
    user = await estate.application({group: "application"})
    verbs: dict[str, Json | None] = {
        "deactivate": {"reason": "x"}, "activate": None, "soft-delete": {"acknowledge": True}, "recover": None,
    }  # fmt: skip
    for verb, body in verbs.items():
        for api in (auditor, user):
            problem = await api.refused("POST", f"{path}/{verb}", body, status=403, code="not_permitted")
            assert problem["permission"] == f"key.{verb.replace('-', '_')}"
        await stranger.refused("POST", f"{path}/{verb}", body, status=404, code="group_not_found")
        shown = await operator.post(f"{path}/{verb}", body)
        assert shown["history"][0]["actor"]["kind"] == "application"
    problem = await operator.refused("POST", f"{path}/purge", status=403, code="not_permitted")
    assert problem["permission"] == "key.purge"


async def test_what_azure_denies_is_withdrawn_and_says_what_is_missing(site: Site) -> None:
    cases = [("delete", "soft-delete"), ("recover", "recover"), ("purge", "purge"), ("restore", "restore")]
    await in_each(site, denied, [*cases, ("update", "deactivate")])


async def denied(estate: Estate, permission: str, verb: str) -> None:
    vault, group = await a_place(estate)
    path = await made(estate, group)
    bodies: dict[str, Json] = {"soft-delete": {"acknowledge": True}, "deactivate": {"reason": "x"}}
    ways = {"recover": ("soft-delete",), "purge": ("soft-delete",), "restore": ("soft-delete", "purge")}
    for step in ways.get(verb, ()):
        await estate.api.post(f"{path}/{step}", bodies.get(step))
    before = await estate.api.get(path)
    await estate.azure.forbid(vault, permission)
    problem = await estate.api.refused("POST", f"{path}/{verb}", bodies.get(verb), status=502, code="vault_denied")
    assert problem["key_permission"] == permission
    after = await estate.api.get(path)
    assert (after["state"], after["pending"]) == (before["state"], None)
    assert events(after)[-1].endswith("_not_done")
    await estate.azure.permit(vault, permission)
    assert (await estate.api.post(f"{path}/{verb}", bodies.get(verb)))["pending"] is None
    await sync_finds_nothing(estate, group)


# --- managed HSMs -------------------------------------------------------------------------------------------------


async def test_a_managed_hsm_does_everything_at_once(estate: Estate) -> None:
    vault, group = await a_place(estate, "managed_hsm")
    path = await made(estate, group, type="AES", size=256, curve=None)
    async with estate.azure.owner(vault) as owner:
        client = owner.get_cryptography_client("k")
        sealed = await client.encrypt(EncryptionAlgorithm.a256_gcm, b"x")
        await estate.api.post(f"{path}/deactivate", {"reason": "x"})
        await estate.api.post(f"{path}/activate")
        for verb, state in (
            ("soft-delete", "soft-deleted"), ("recover", "active"), ("soft-delete", "soft-deleted"),
            ("purge", "purged"), ("restore", "active"),
        ):  # fmt: skip
            began = datetime.now(UTC)
            body = {"acknowledge": True} if verb == "soft-delete" else None
            assert (await estate.api.post(f"{path}/{verb}", body))["state"] == state
            assert datetime.now(UTC) - began < timedelta(seconds=3)
        opened = await client.decrypt(
            EncryptionAlgorithm.a256_gcm, sealed.ciphertext, iv=sealed.iv, authentication_tag=sealed.tag
        )
        assert opened.plaintext == b"x"
    await sync_finds_nothing(estate, group)


# --- source keys --------------------------------------------------------------------------------------------------


async def test_source_keys_are_changed_disabled_and_enabled_but_never_deleted(estate: Estate) -> None:
    group = await estate.source_group()
    await estate.allow_export(group)
    key = a_key(estate.site.ledger, "EC P-256")
    body = {"name": "s", **asked("EC P-256"), "material": {"value": base64_of(key.content)}}
    made_key = await estate.api.post(f"groups/{group}/keys/import", {**body, "permissions": ["export", "sign"]})
    path = f"groups/{group}/keys/{made_key['id']}"
    changed = await estate.api.change("PATCH", path, {"expires_on": FAR, "tags": {"a": "1"}, "permissions": ["export"]})
    assert (changed["expires_on"], changed["tags"], changed["permissions"]) == (FAR, {"a": "1"}, ["export"])
    assert (await estate.api.change("PATCH", path, {"expires_on": None}))["expires_on"] is None
    etag = {"If-Match": (await estate.api.done("GET", path)).etag}
    for wrong, code in (
        ({"operations": ["sign"]}, "field_for_other_kind"),
        ({"permissions": ["fly"]}, "key_not_allowed"),
    ):
        status = 400 if code == "field_for_other_kind" else 422
        await estate.api.refused("PATCH", path, wrong, status=status, code=code, headers=etag)
    await estate.api.post(f"{path}/versions")
    off = await estate.api.post(f"{path}/deactivate", {"reason": "leak"})
    assert (off["state"], [one["enabled"] for one in off["versions"]]) == ("deactivated", [False, False])
    await estate.api.refused("POST", f"{path}/export", {"format": "pem"}, status=409, code="key_not_active")
    await estate.api.refused("POST", f"{path}/deactivate", {"reason": "x"}, status=409, code="key_already_disabled")
    on = await estate.api.post(f"{path}/activate", {"reason": "false alarm"})
    assert (on["state"], on["deactivation"], on["history"][0]["detail"]) == ("active", None, "false alarm")
    await estate.api.post(f"{path}/export", {"format": "pem"})
    await allow(estate, group, *DESTRUCTIVE)
    for method, verb, content in (
        ("POST", "/soft-delete", {"acknowledge": True}), ("POST", "/recover", None), ("POST", "/purge", None),
        ("POST", "/restore", None), ("DELETE", "", None),
    ):  # fmt: skip
        await estate.api.refused(method, f"{path}{verb}", content, status=409, code="virtual_key_only")
