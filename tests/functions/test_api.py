"""The API's operations on memory: what each takes and answers, through the routes and with the real services."""

import json
from datetime import timedelta

from core.domain.connections import ConnectionCause, ConnectionReport, ConnectionStage, PermissionState
from core.domain.secrets import SecretText
from tests.builders.http import CONNECTION, SECRET, AccountStage
from tests.builders.keys import NOW
from tests.builders.people import ALICE, BOB, GROUP, HOME, ROOT, object_id
from tests.fakes.vault import FACTS


async def test_me_shows_the_caller_and_its_groups(stage: AccountStage) -> None:
    me = (await stage.api.send("GET", "v1/me")).json
    assert (me["caller"]["object_id"], me["permissions"]) == (
        object_id("root"),
        ["account.create", "sealing_key.rotate"],
    )
    assert [group["external"] for group in me["accounts"][0]["groups"]] == [True, True]


async def test_an_account_is_created_read_and_renamed(stage: AccountStage) -> None:
    created = await stage.api.send("POST", "v1/accounts", {"title": "Fabrikam"})
    assert (created.status, created.json["title"]) == (201, "Fabrikam")
    path = created.headers["Location"].removeprefix("/api/")
    read = await stage.api.send("GET", path)
    assert (read.json, read.headers["ETag"]) == (created.json, created.headers["ETag"])
    headers = {"if-match": read.headers["ETag"]}
    assert (await stage.api.send("PATCH", path, {"title": "Contoso"}, headers=headers)).status == 200
    assert (await stage.api.send("PATCH", path, {"title": "Late"}, headers=headers)).code == "stale_write"


async def test_accounts_are_paged(stage: AccountStage) -> None:
    for title in ("B", "C"):
        await stage.api.send("POST", "v1/accounts", {"title": title})
    titles, following = [], None
    while True:
        query = {"limit": "1", **({"next": following} if following else {})}
        page = (await stage.api.send("GET", "v1/accounts", query=query)).json
        titles += [account["title"] for account in page["items"]]
        following = page["next"]
        if following is None:
            break
    assert sorted(titles) == ["B", "C", "Contoso"]


async def test_only_the_platform_admin_creates_accounts(stage: AccountStage) -> None:
    response = await stage.api.calling(ALICE).send("POST", "v1/accounts", {"title": "Mine"})
    assert (response.status, response.json["permission"]) == (403, "account.create")


async def test_a_member_is_added_changed_and_deleted(stage: AccountStage) -> None:
    added = await stage.post("members", {"role": "member", "object_id": ALICE.object_id, "name": "Alice"})
    assert (added.status, added.json["role"], added.json["name"]) == (201, "member", "Alice")
    one = f"members/{added.json['id']}"
    assert {each["role"] for each in (await stage.get("members")).json["items"]} == {"admin", "member"}
    assert (await stage.change("PATCH", one, {"role": "auditor"})).json["role"] == "auditor"
    assert (await stage.api.send("DELETE", stage.path(one))).status == 204
    assert (await stage.get(one)).code == "member_not_found"


async def test_an_application_gets_roles_and_a_service_principal(stage: AccountStage) -> None:
    created = await stage.post("applications", {"title": "Billing", "groups": {GROUP: "application"}})
    one = f"applications/{created.json['id']}"
    identity = {"tenant_id": HOME, "object_id": object_id("billing")}
    bound = await stage.change("PUT", f"{one}/service-principal", identity, of=one)
    assert (bound.status, bound.json["object_id"]) == (200, object_id("billing"))
    unbound = await stage.change("DELETE", f"{one}/service-principal", None, of=one)
    assert unbound.json["object_id"] is None
    changed = await stage.change("PATCH", one, {"groups": {}, "disabled": True})
    assert (changed.json["groups"], changed.json["disabled"]) == ([], True)
    assert [each["id"] for each in (await stage.get("applications")).json["items"]] == [created.json["id"]]
    assert (await stage.api.send("DELETE", stage.path(one))).status == 204


async def test_an_api_key_is_shown_once_rotated_and_revoked(stage: AccountStage) -> None:
    application = (await stage.post("applications", {"title": "Billing", "groups": {GROUP: "application"}})).json["id"]
    keys = f"applications/{application}/api-keys"
    headers = {"idempotency-key": "issue-1"}
    issued = await stage.api.send("POST", stage.path(keys), headers=headers)
    again = await stage.api.send("POST", stage.path(keys), headers=headers)
    text, one = issued.json["api_key"], f"{keys}/{issued.json['id']}"
    assert (issued.status, again.content, text[:3]) == (201, issued.content, "ks_")
    assert text not in repr(vars(stage.premises.idempotency_rows))
    with_key = stage.premises.api(platform_authentication=False).calling(api_key=text)
    assert (await with_key.send("GET", "v1/me")).json["caller"]["kind"] == "api_key"
    rotated = await stage.post(f"{one}/rotate", {"overlap_seconds": 60})
    assert rotated.json["api_key"] != text
    assert (await stage.get(one)).json["replaced_by"] == rotated.json["id"]
    stage.premises.office.clock.move(timedelta(seconds=61))
    expired = await with_key.send("GET", "v1/me")
    assert (expired.status, expired.code) == (401, "api_key_expired")
    assert "Bearer" in expired.headers["WWW-Authenticate"]
    revoked = await stage.post(f"{keys}/{rotated.json['id']}/revoke")
    assert revoked.json["revoked_on"] is not None
    listed = (await stage.get(keys)).json["items"]
    assert len(listed) == 2
    assert all("api_key" not in each for each in listed)


async def test_a_group_is_saved_while_it_is_not_connected(stage: AccountStage) -> None:
    cause = ConnectionReport(NOW, ConnectionCause.SECRET_WRONG, ConnectionStage.SIGN_IN, "The secret is wrong.")
    stage.reports(cause)
    created = await stage.post("groups", {"kind": "azure", "title": "Webshop", "connection": CONNECTION})
    assert (created.status, created.json["connection_state"]) == (201, "not_connected")
    assert created.json["report"]["cause"] == "secret_wrong"
    assert created.json["connection"]["credential"]["secret"] == "********"
    assert SECRET not in created.content.decode()
    assert SECRET not in (await stage.get(f"groups/{created.json['id']}")).content.decode()
    finding = (await stage.get("findings", group=created.json["id"])).json["items"][0]
    assert (finding["code"], finding["severity"]) == ("not_connected", "warning")


async def test_a_vault_is_discovered_selected_and_stays(stage: AccountStage) -> None:
    permissions = (("get", PermissionState.HELD), ("purge", PermissionState.MISSING))
    stage.reports(ConnectionReport(NOW, vaults=(FACTS,), permissions=permissions))
    tested = await stage.post("connections/test", {"connection": CONNECTION, "vault": FACTS.resource_id})
    assert (tested.json["result"], tested.json["permissions"]) == ("connected", {"get": "held", "purge": "missing"})
    group = (await stage.post("groups", {"kind": "azure", "title": "Webshop", "connection": CONNECTION})).json["id"]
    vault = tested.json["vaults"][0]["resource_id"]
    one = f"groups/{group}"
    linked = await stage.change("PUT", f"{one}/vault", {"resource_id": vault}, of=one)
    assert (linked.status, linked.json["vault"]["name"]) == (200, "payments")
    other = await stage.change("PATCH", one, {"vault": vault.replace("payments", "other")})
    assert (other.status, other.code) == (409, "field_fixed")
    assert (await stage.post(f"{one}/connection/test")).json["result"] == "connected"
    assert (await stage.change("DELETE", one, None)).status == 204


async def test_a_group_changes_by_what_is_given(stage: AccountStage) -> None:
    created = (await stage.post("groups", {"kind": "azure", "title": "Webshop", "connection": CONNECTION})).json
    one = f"groups/{created['id']}"
    patch = {
        "title": "Shop",
        "schedule": {"time_zone": "Europe/Zurich"},
        "escrow": {"keep_generations": 7},
        "connection": {"client_id": object_id("other")},
    }
    proxied = {"connection": {"proxy": {"url": "http://proxy.example:3128"}}}
    refused = await stage.change("PATCH", one, proxied)
    assert (refused.status, refused.code) == (400, "secret_required")
    credential = {"kind": "client_secret", "secret": SECRET}
    assert (
        await stage.change("PATCH", one, {"connection": proxied["connection"] | {"credential": credential}})
    ).status == 200
    changed = (await stage.change("PATCH", one, patch)).json
    assert (changed["title"], changed["schedule"]["time_zone"]) == ("Shop", "Europe/Zurich")
    assert changed["schedule"]["cron"] == created["schedule"]["cron"]
    assert changed["escrow"] == {"enabled": True, "keep_generations": 7}
    assert (changed["connection"]["tenant_id"], changed["connection"]["client_id"]) == (HOME, object_id("other"))
    stored = (await stage.premises.office.group_rows.get(stage.account, created["id"])).value
    opened = await stage.premises.app.connections.open(stored)
    assert opened.credential_secret == SecretText(SECRET)
    cleared = (await stage.change("PATCH", one, {"connection": {"proxy": None}})).json
    assert cleared["connection"]["proxy"] is None


async def test_ending_escrow_needs_its_own_permission(stage: AccountStage) -> None:
    draft = {"kind": "azure", "title": "Webshop", "connection": CONNECTION}
    refused = await stage.post("groups", {**draft, "escrow": {"enabled": False}})
    assert (refused.status, refused.json["permission"]) == (403, "escrow.disable")
    group = (await stage.post("groups", draft)).json["id"]
    one = f"groups/{group}"
    refused = await stage.change("PATCH", one, {"escrow": {"enabled": False}})
    assert (refused.status, refused.json["permission"]) == (403, "escrow.disable")
    root = f"{one}/members/{ROOT.principal}"
    granted = await stage.api.send("PUT", stage.path(root), {"role": "admin", "extra": ["escrow.disable"]})
    assert granted.status == 200
    assert (await stage.change("PATCH", one, {"escrow": {"enabled": False}})).json["escrow"]["enabled"] is False


async def test_roles_in_a_group_are_given_listed_and_taken(stage: AccountStage) -> None:
    added = (await stage.post("members", {"role": "member", "object_id": BOB.object_id})).json["id"]
    bob = stage.api.calling(BOB)
    assert (await bob.send("GET", stage.path(f"groups/{GROUP}"))).status == 404
    one = f"groups/{GROUP}/members/{added}"
    assert (await stage.api.send("PUT", stage.path(one), {"role": "auditor"})).json["role"] == "auditor"
    assert (await bob.send("GET", stage.path(f"groups/{GROUP}"))).status == 200
    refused = await bob.send("POST", stage.path(f"groups/{GROUP}/sync"))
    assert (refused.status, refused.json["permission"]) == (403, "group.sync")
    assert [group["id"] for group in (await bob.send("GET", stage.path("groups"))).json["items"]] == [GROUP]
    assert (await stage.get(one)).json["role"] == "auditor"
    assert len((await stage.get(f"groups/{GROUP}/members")).json["items"]) == 1
    assert (await stage.api.send("DELETE", stage.path(one))).status == 204
    assert (await stage.get(one)).code == "group_member_not_found"


async def test_the_sealing_key_is_rotated_by_the_platform_admin(stage: AccountStage) -> None:
    rotated = await stage.api.send("POST", "v1/platform/sealing-key/rotate")
    assert (rotated.status, rotated.json["rewrapped"], rotated.json["failed"]) == (200, 1, [])
    refused = await stage.api.calling(ALICE).send("POST", "v1/platform/sealing-key/rotate")
    assert refused.json["permission"] == "sealing_key.rotate"


async def test_the_reference_is_served_to_anybody(stage: AccountStage) -> None:
    nobody = stage.api.calling()
    assert json.loads((await nobody.send("GET", "v1/openapi.json")).content)["openapi"] == "3.1.0"
    page = await nobody.send("GET", "v1/docs")
    assert b"<h1>Keysteward</h1>" in page.content
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert (await nobody.send("GET", "v1/docs", query={"x": "1"})).code == "unknown_field"
