"""Findings over HTTP: keys that expire, drift until somebody has looked, and rotation by the vault."""

from datetime import UTC, datetime, timedelta

from azure.keyvault.keys import KeyRotationLifetimeAction, KeyRotationPolicy, KeyRotationPolicyAction

from tests.integration.client import Json
from tests.integration.estate import Estate
from tests.integration.test_exchange_keys import imported

DAY = 86_400
MADE_BEFORE = {"created_offset": -60}
ROTATE = KeyRotationPolicyAction.rotate
POLICIES = ("getrotationpolicy", "setrotationpolicy")


async def by_code(estate: Estate, **query: str) -> dict[str, list[str | None]]:
    """Return the account's findings: the keys they are about, by code."""
    found: dict[str, list[str | None]] = {}
    for finding in await estate.api.pages("findings", **query):
        found.setdefault(finding["code"], []).append(finding["key"])
    return {code: sorted(keys, key=str) for code, keys in found.items()}


async def look_for_expiring_keys(estate: Estate, expected: dict[str, list[str]]) -> None:
    """Run the timer until the findings about expiry are these."""

    async def found() -> bool | None:
        await estate.site.stack.host.run_function("find_expiring_keys")
        shown = await by_code(estate)
        of_expiry = {code: keys for code, keys in shown.items() if code in {"key_expired", "key_expiring"}}
        return True if of_expiry == {code: sorted(keys) for code, keys in expected.items()} else None

    await estate.site.until(found, within=20)


async def test_keys_that_expire_are_found_and_cleared(estate: Estate) -> None:
    dates = {"past": -DAY, "soon": 20 * DAY, "later": 40 * DAY, "gone": 10 * DAY}
    keys: list[Json] = [{"name": name, "expires_offset": offset, **MADE_BEFORE} for name, offset in dates.items()]
    vault = await estate.azure.vault(keys=[*keys, {"name": "never", **MADE_BEFORE}])
    group = await estate.link(vault)
    async with estate.azure.owner(vault) as owner:
        await owner.delete_key("gone")
    await estate.sync(group)
    sources = await estate.source_group()
    ends = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    body = {"name": "master", "type": "EC", "curve": "P-256", "expires_on": ends}
    master = (await estate.api.post(f"groups/{sources}/keys", body))["id"]
    ids = {name: key["id"] for name, key in (await estate.keys(group)).items()}
    await look_for_expiring_keys(estate, {"key_expired": [ids["past"]], "key_expiring": [ids["soon"], master]})
    (expired,) = await estate.api.pages("findings", code="key_expired")
    assert (expired["severity"], expired["group"], bool(expired["advice"])) == ("warning", group, True)
    # The date is moved in Azure, and time passes.
    async with estate.azure.owner(vault) as owner:
        await owner.update_key_properties("past", expires_on=datetime.now(UTC) + timedelta(days=400))
    await estate.sync(group)
    async with estate.site.product_clock(15 * DAY):
        await look_for_expiring_keys(estate, {"key_expired": [master], "key_expiring": [ids["soon"], ids["later"]]})


async def test_drift_is_a_notice_until_it_is_acknowledged(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k", "count": 3, **MADE_BEFORE}])
    group = await estate.link(vault)
    await estate.sync(group)
    async with estate.azure.owner(vault) as owner:
        await owner.update_key_properties("k-000000", enabled=False)
        await owner.update_key_properties("k-000001", tags={"a": "1"})
    await estate.sync(group)
    keys = await estate.keys(group, drifted="true")
    assert keys.keys() == {"k-000000", "k-000001"}
    first, second = (keys[f"k-{number:06}"]["id"] for number in range(2))
    assert (await by_code(estate, severity="notice", group=group))["drift"] == sorted([first, second])
    assert await by_code(estate, key=first) == {"drift": [first]}
    assert await by_code(estate, severity="critical") == {}

    one = f"groups/{group}/keys/{first}"
    seen = await estate.api.done("GET", one)
    reviewed = await estate.api.change("POST", f"{one}/drift/acknowledge", {"note": "change 4711"}, of=one)
    assert (reviewed["drifted"], reviewed["drift_total"], reviewed["drift_review"]["note"]) == (False, 1, "change 4711")
    assert reviewed["history"][0]["event"] == "key.drift_acknowledged"
    assert (await estate.keys(group, drifted="true")).keys() == {"k-000001"}
    assert (await by_code(estate))["drift"] == [second]
    await estate.api.refused(
        "POST", f"{one}/drift/acknowledge", status=412, code="stale_write", headers={"If-Match": seen.etag}
    )
    # What changes later is for somebody to look at again.
    async with estate.azure.owner(vault) as owner:
        await owner.update_key_properties("k-000000", enabled=True)
    await estate.sync(group, "full")
    key = await estate.key(group, "k-000000")
    assert (key["drifted"], key["drift_total"]) == (True, 2)
    assert (await by_code(estate))["drift"] == sorted([first, second])
    await estate.api.post(f"{one}/drift/acknowledge")
    await estate.api.post(f"groups/{group}/keys/{second}/drift/acknowledge")
    assert "drift" not in await by_code(estate)
    assert len(await estate.api.pages(f"{one}/drift")) == 2


async def test_pages_of_findings(estate: Estate) -> None:
    vault = await estate.azure.vault(keys=[{"name": "k", "count": 25, "deleted": True}])
    group = await estate.link(vault)
    await estate.sync(group)
    listed = await estate.api.pages("findings", limit="4")
    assert [finding["severity"] for finding in listed] == ["critical"] * 25 + ["notice"]
    assert len({finding["id"] for finding in listed}) == 26
    page = await estate.api.get("findings", limit="25", code="deleted_without_escrow")
    assert (len(page["items"]), page["next"]) == (25, None)
    for query in ({"severity": "bad"}, {"code": "bad"}, {"key": "bad"}):
        await estate.api.refused("GET", "findings", query=query, status=400, code="invalid_field")
    await estate.api.refused("GET", "findings", query={"next": "bad"}, status=400, code="invalid_cursor")


async def test_rotation_by_the_vault_of_a_brought_key(estate: Estate) -> None:
    vault, group = await estate.vault_group("standard")
    await estate.azure.permit(vault, *POLICIES)
    await estate.azure.add_keys(vault, {"name": "native", **MADE_BEFORE})
    made = await imported(estate, group, "ours")
    policy = KeyRotationPolicy(
        lifetime_actions=[KeyRotationLifetimeAction(ROTATE, time_after_create="P90D")], expires_in="P100D"
    )
    async with estate.azure.owner(vault) as owner:
        for name in ("ours", "native"):
            await owner.update_key_rotation_policy(name, policy)
    await estate.sync(group, "full")
    for _ in range(2):
        # An unchanged sync asks for no key.
        assert (await estate.azure.requests(vault))["get_key_rotation_policy"] == 1
        await estate.sync(group)
    key = await estate.key(group, "ours")
    assert (key["vault_rotation"]["rotates"], key["vault_rotation"]["rotate_after_creation"]) == (True, "P90D")
    assert (await estate.key(group, "native"))["vault_rotation"] is None
    assert (await by_code(estate))["native_rotation"] == [made["id"]]

    path = f"groups/{group}/keys/{made['id']}/vault-rotation/disable"
    off = await estate.api.post(path)
    assert (off["vault_rotation"]["rotates"], off["history"][0]["event"]) == (False, "key.vault_rotation_disabled")
    assert "native_rotation" not in await by_code(estate)
    async with estate.azure.owner(vault) as owner:
        left = await owner.get_key_rotation_policy("ours")
        assert [action.action for action in left.lifetime_actions] == [KeyRotationPolicyAction.notify]
        assert left.expires_in == "P100D", "the rest of the policy stays"
        assert len([version async for version in owner.list_properties_of_key_versions("ours")]) == 1
    await estate.api.post(path)
    await estate.sync(group, "full")
    assert "native_rotation" not in await by_code(estate)


async def test_a_vault_that_does_not_tell_its_policies_is_synced_all_the_same(estate: Estate) -> None:
    _, group = await estate.vault_group("standard")
    made = await imported(estate, group, "ours")
    await estate.sync(group, "full")
    key = await estate.key(group, "ours")
    assert (key["vault_rotation"]["known"], key["vault_rotation"]["rotates"]) == (False, False)
    assert "sync_failed" not in await by_code(estate)
    path = f"groups/{group}/keys/{made['id']}/vault-rotation/disable"
    await estate.api.refused("POST", path, status=502, code="vault_denied")
