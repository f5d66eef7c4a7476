"""Who gets in, and what a stranger learns: nothing."""

import base64
import json
from pathlib import Path

import pytest

from local.emulator.seeds import CONTOSO_TENANT_ID, USER_OBJECT_IDS
from local.stack import HostOptions
from local.stack.environment import base_environment
from local.stack.host import start_host
from local.stack.part import Launcher
from local.stack.stack import ROOT
from tests.integration.client import Api, Json
from tests.integration.estate import Estate, Site

UNKNOWN = "a" * 24


def principal_header(user: str) -> dict[str, str]:
    """Return the platform's header for a user, as somebody may forge it."""
    claims = {
        "http://schemas.microsoft.com/identity/claims/tenantid": CONTOSO_TENANT_ID,
        "http://schemas.microsoft.com/identity/claims/objectidentifier": USER_OBJECT_IDS[user],
        "name": user,
    }
    content = {"auth_typ": "aad", "claims": [{"typ": name, "val": value} for name, value in claims.items()]}
    return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(content).encode()).decode()}


async def test_nobody_is_nobody(site: Site, estate: Estate) -> None:
    for path in ("me", "accounts", f"accounts/{estate.account}", f"accounts/{estate.account}/keys"):
        await site.api().refused("GET", path, status=401, code="not_authenticated")


async def test_a_forged_header_is_stripped_where_the_platform_authenticates(site: Site, estate: Estate) -> None:
    await site.api(principal_header("alice")).refused("GET", "me", status=401, code="not_authenticated")
    bob = await site.token("bob")
    forged = site.api({"Authorization": f"Bearer {bob}", **principal_header("alice")})
    assert (await forged.get("me"))["caller"]["object_id"] == USER_OBJECT_IDS["bob"]
    await forged.refused("GET", f"accounts/{estate.account}", status=404, code="account_not_found")


async def test_a_forged_header_is_not_believed_without_the_platform(
    site: Site, estate: Estate, tmp_path: Path
) -> None:
    launcher = Launcher(ROOT, tmp_path / "logs", base_environment(site.stack.ca_file, ROOT))
    options = HostOptions(app_dir=ROOT, auth_platform=False)
    try:
        host = await start_host(launcher, options, tmp_path, settings=site.stack.app_settings, authentication=[])
        bare = Api(site.session, f"{host.url}/api/v1", principal_header("alice"))
        await bare.refused("GET", "me", status=401, code="not_authenticated")
        await bare.refused("GET", f"accounts/{estate.account}", status=401, code="not_authenticated")
        application = await estate.api.post("applications", {"title": "A", "groups": {}})
        issued = await estate.api_key(application["id"])
        holder = Api(site.session, f"{host.url}/api/v1", {"Authorization": f"Bearer {issued['api_key']}"})
        assert (await holder.get("me"))["caller"]["principal"] == application["id"]
    finally:
        await launcher.stop()


async def test_a_token_that_does_not_verify(site: Site) -> None:
    head, body, signature = (await site.token("alice")).split(".")
    for bad in (f"{head}.{body}.{signature[:-8]}AAAAAAAA", f"{head}.{body}."):
        assert (await site.bearer(bad).send("GET", "me")).status == 401


async def test_only_the_first_admin_creates_accounts(site: Site) -> None:
    for user in ("bob", "carol"):
        problem = await (await site.user(user)).refused(
            "POST", "accounts", {"title": "Mine"}, status=403, code="not_permitted"
        )
        assert problem["permission"] == "account.create"


async def things(estate: Estate) -> Json:
    """Return the ids of one thing of each kind in an account."""
    vault = await estate.azure.vault(keys=[{"name": "k"}])
    group = await estate.link(vault)
    job = await estate.sync(group)
    application = await estate.api.post("applications", {"title": "A", "groups": {}})
    return {
        "group": group,
        "job": job["id"],
        "key": (await estate.keys(group))["k"]["id"],
        "application": application["id"],
        "api_key": (await estate.api_key(application["id"]))["id"],
        "member": (await estate.api.pages("members"))[0]["id"],
    }


def paths_of(ids: Json) -> dict[str, tuple[str, str]]:
    """Return, by kind, the path of a thing and that of one which does not exist."""
    group, application = ids["group"], ids["application"]
    return {
        "group_not_found": (f"groups/{group}", f"groups/grp_{UNKNOWN}"),
        "job_not_found": (f"jobs/{ids['job']}", f"jobs/job_{UNKNOWN}"),
        "key_not_found": (f"groups/{group}/keys/{ids['key']}", f"groups/{group}/keys/key_{UNKNOWN}"),
        "application_not_found": (f"applications/{application}", f"applications/app_{UNKNOWN}"),
        "api_key_not_found": (
            f"applications/{application}/api-keys/{ids['api_key']}",
            f"applications/{application}/api-keys/apk_{UNKNOWN}",
        ),
        "member_not_found": (f"members/{ids['member']}", f"members/prn_{UNKNOWN}"),
    }


def without_ids(problem: Json) -> Json:
    return {name: value for name, value in problem.items() if name != "correlation_id"}


async def test_a_stranger_cannot_tell_an_account_from_none(site: Site, estate: Estate) -> None:
    bob = await site.user("bob")
    for there, _ in paths_of(await things(estate)).values():
        for path in ("", f"/{there}"):
            real = await bob.refused("GET", f"accounts/{estate.account}{path}", status=404, code="account_not_found")
            made_up = await bob.refused("GET", f"accounts/acc_{UNKNOWN}{path}", status=404, code="account_not_found")
            assert without_ids(real) == without_ids(made_up)
    writes = [("POST", "groups", {"kind": "source", "title": "X"}), ("PATCH", "", {"title": "X"})]
    for method, path, body in writes:
        target = f"accounts/{estate.account}" + (f"/{path}" if path else "")
        await bob.refused(method, target, body, status=404, code="account_not_found")


async def test_ids_of_another_account_are_unknown_in_ones_own(site: Site, estate: Estate) -> None:
    theirs, own = await things(estate), await site.estate()
    own_group = await own.source_group()
    for code, (there, unknown) in paths_of(theirs).items():
        expected = "group_not_found" if code == "key_not_found" else "application_not_found" if code == "api_key_not_found" else code
        found = await own.api.send("GET", there)
        nothing = await own.api.send("GET", unknown)
        if code == "member_not_found":
            continue
        assert (found.status, found.json["code"]) == (404, expected), there
        assert without_ids(found.json) == without_ids(nothing.json)
    await own.api.refused("GET", f"groups/{own_group}/keys/{theirs['key']}", status=404, code="key_not_found")
    await own.api.refused("POST", f"jobs/{theirs['job']}/cancel", status=404, code="job_not_found")
    await own.api.refused("POST", f"groups/{theirs['group']}/sync", status=404, code="group_not_found")


async def test_a_member_without_a_role_does_not_see_a_group(estate: Estate) -> None:
    ids = await things(estate)
    await estate.api.post("members", {"role": "member", "object_id": USER_OBJECT_IDS["bob"]})
    bob = await estate.as_user("bob")
    for there, unknown in [
        (f"groups/{ids['group']}", f"groups/grp_{UNKNOWN}"),
        (f"groups/{ids['group']}/keys/{ids['key']}", f"groups/grp_{UNKNOWN}/keys/{ids['key']}"),
        (f"jobs/{ids['job']}", f"jobs/job_{UNKNOWN}"),
        (f"keys?group={ids['group']}", f"keys?group=grp_{UNKNOWN}"),
        (f"findings?group={ids['group']}", f"findings?group=grp_{UNKNOWN}"),
    ]:
        hidden, nothing = await bob.send("GET", there), await bob.send("GET", unknown)
        assert (hidden.status, without_ids(hidden.json)) == (404, without_ids(nothing.json)), there
    for list_ in ("groups", "keys", "jobs", "findings"):
        assert await bob.pages(list_) == []


@pytest.mark.parametrize("bad", ["grp_x", "acc_" + UNKNOWN, "%0A", "grp_" + UNKNOWN.upper(), "..%2f..%2fhealth", "'; --"])
async def test_what_has_no_ids_form_is_not_there(estate: Estate, bad: str) -> None:
    reply = await estate.api.send("GET", f"groups/{bad}")
    assert reply.status == 404


async def test_me(site: Site, estate: Estate) -> None:
    vault = await estate.azure.vault()
    group, source = await estate.link(vault), await estate.source_group()
    me = await (await site.user("alice")).get("me")
    mine = next(account for account in me["accounts"] if account["id"] == estate.account)
    shown = {one["id"]: (one["kind"], one["external"], one["connection"], one["role"]) for one in mine["groups"]}
    assert shown == {
        group: ("azure", True, "connected", "admin"),
        source: ("source", False, "not_applicable", "admin"),
    }
    assert me["permissions"] == ["account.create", "sealing_key.rotate"]
    stranger = await (await site.user("dave")).get("me")
    assert (stranger["permissions"], estate.account in str(stranger)) == ([], False)
