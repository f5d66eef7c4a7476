"""Members, invitations and what each role may do."""

import pytest

from local.emulator.seeds import API_AUDIENCE, USER_OBJECT_IDS
from tests.integration.client import Api, Json
from tests.integration.estate import Estate, Site


async def invite(estate: Estate, **members: str) -> Json:
    added: Json = await estate.api.post("members", members)
    return added


async def test_an_invitation_is_bound_at_the_first_sign_in(site: Site, estate: Estate) -> None:
    invited = await invite(estate, role="member", email="Carol@contoso.example")
    assert invited["object_id"] is None
    carol = await estate.as_user("carol")
    await carol.get("groups")
    bound = await estate.api.get(f"members/{invited['id']}")
    assert (bound["object_id"], bound["email"]) == (USER_OBJECT_IDS["carol"], "carol@contoso.example")
    accounts = await (await site.user("carol")).pages("accounts")
    assert estate.account in {account["id"] for account in accounts}


async def test_an_invitation_of_somebody_else_binds_nobody(estate: Estate) -> None:
    invited = await invite(estate, role="admin", email="somebody-else@contoso.example")
    await (await estate.as_user("bob")).refused("GET", "groups", status=404, code="account_not_found")
    assert (await estate.api.get(f"members/{invited['id']}"))["object_id"] is None


async def test_only_the_home_tenant_is_invited_by_email(estate: Estate) -> None:
    elsewhere = await estate.azure.control.post("tenants", {"display_name": "Elsewhere"})
    body = {"role": "member", "email": "carol@contoso.example", "tenant_id": elsewhere["id"]}
    await estate.api.refused("POST", "members", body, status=400, code="email_outside_home_tenant")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"role": "member", "email": "no address"}, "email_invalid"),
        ({"role": "member", "object_id": "x"}, "invalid_field"),
        ({"role": "owner", "email": "carol@contoso.example"}, "invalid_field"),
        ({"role": "member"}, "invalid_request"),
        ({"email": "carol@contoso.example"}, "missing_field"),
        ({"role": "member", "email": "carol@contoso.example", "admin": True}, "unknown_field"),
    ],
)
async def test_a_malformed_member_is_refused(estate: Estate, body: Json, code: str) -> None:
    await estate.api.refused("POST", "members", body, status=400, code=code)


async def test_a_member_is_in_once(estate: Estate) -> None:
    await invite(estate, role="member", object_id=USER_OBJECT_IDS["bob"])
    body = {"role": "auditor", "object_id": USER_OBJECT_IDS["bob"].upper()}
    await estate.api.refused("POST", "members", body, status=409, code="member_exists")


async def test_the_last_admin_stays(estate: Estate) -> None:
    alice = next(one for one in await estate.api.pages("members") if one["role"] == "admin")
    path = f"members/{alice['id']}"
    await invite(estate, role="admin", email="not-yet-here@contoso.example")
    etag = (await estate.api.done("GET", path)).etag
    await estate.api.refused("DELETE", path, status=409, code="last_admin")
    demotion = {"role": "auditor"}
    await estate.api.refused("PATCH", path, demotion, status=409, code="last_admin", headers={"If-Match": etag})
    await invite(estate, role="admin", object_id=USER_OBJECT_IDS["bob"])
    await estate.api.change("PATCH", path, demotion)
    await estate.api.refused("POST", "applications", {"title": "A"}, status=403, code="not_permitted")


async def test_who_was_deleted_is_a_stranger_again(estate: Estate) -> None:
    bob = await invite(estate, role="member", object_id=USER_OBJECT_IDS["bob"])
    as_bob = await estate.as_user("bob")
    await as_bob.get("groups")
    await estate.api.done("DELETE", f"members/{bob['id']}")
    await as_bob.refused("GET", "groups", status=404, code="account_not_found")


async def actors(estate: Estate, group: str) -> dict[str, Api]:
    """Return a caller for each role that the matrix below names."""
    bob = await invite(estate, role="member", object_id=USER_OBJECT_IDS["bob"])
    carol = await invite(estate, role="member", object_id=USER_OBJECT_IDS["carol"])
    await invite(estate, role="auditor", object_id=USER_OBJECT_IDS["dave"])
    await estate.api.put(f"groups/{group}/members/{bob['id']}", {"role": "operator"})
    await estate.api.put(f"groups/{group}/members/{carol['id']}", {"role": "auditor"})
    return {
        "admin": estate.api,
        "operator": await estate.as_user("bob"),
        "group auditor": await estate.as_user("carol"),
        "account auditor": await estate.as_user("dave"),
        "application": await estate.application({group: "application"}),
    }


EVERYBODY = {"admin", "operator", "group auditor", "account auditor", "application"}
MATRIX = [
    ("GET", "groups/{group}", None, EVERYBODY, "group.read"),
    ("GET", "keys?group={group}", None, EVERYBODY, "key.read"),
    ("GET", "groups/{group}/keys/{key}/escrow", None, EVERYBODY - {"application"}, "escrow.read"),
    ("GET", "jobs/{job}", None, EVERYBODY - {"application"}, "job.read"),
    ("GET", "findings?group={group}", None, EVERYBODY - {"application"}, "finding.read"),
    ("GET", "groups/{group}/members", None, EVERYBODY - {"application"}, "group_member.read"),
    ("GET", "members", None, EVERYBODY - {"application"}, "member.read"),
    ("GET", "applications/{application}/api-keys", None, {"admin", "account auditor"}, "api_key.read"),
    ("POST", "groups/{group}/sync", None, {"admin", "operator"}, "group.sync"),
    ("POST", "groups/{group}/connection/test", None, {"admin", "operator"}, "group.test"),
    ("POST", "groups", {"kind": "source", "title": "S"}, {"admin", "operator", "group auditor"}, "group.create"),
    ("POST", "applications", {"title": "A"}, {"admin"}, "application.write"),
    ("POST", "applications/{application}/api-keys", None, {"admin"}, "api_key.write"),
    ("POST", "members", {"role": "member", "email": "x@contoso.example"}, {"admin"}, "member.write"),
    ("PUT", "groups/{group}/members/{application}", {"role": "application"}, {"admin"}, "group_member.write"),
]


async def test_roles(estate: Estate) -> None:
    group = await estate.link(await estate.azure.vault(keys=[{"name": "k"}]))
    job = await estate.sync(group)
    ids = {
        "group": group,
        "job": job["id"],
        "key": (await estate.keys(group))["k"]["id"],
        "application": (await estate.api.post("applications", {"title": "B", "groups": {}}))["id"],
    }
    callers = await actors(estate, group)
    for method, template, body, allowed, permission in MATRIX:
        path = template.format(**ids)
        for role, caller in callers.items():
            reply = await caller.send(method, path, body)
            told = f"{role}: {method} {path}: {reply.content[:300]!r}"
            if role in allowed:
                assert reply.status < 400, told
                if "api-keys" in path and method == "POST":
                    estate.site.ledger.add("API key", reply.json["api_key"])
            elif reply.status != 404:
                assert (reply.status, reply.json["code"], reply.json["permission"]) == (403, "not_permitted", permission), told
            else:
                # An application sees no job at all, which is how its absence looks.
                assert (role, permission) == ("application", "job.read"), told


async def test_update_needs_the_permission_that_it_names(estate: Estate) -> None:
    group = await estate.link(await estate.azure.vault())
    operator = (await actors(estate, group))["operator"]
    match = {"If-Match": (await estate.api.done("GET", f"groups/{group}")).etag}
    path = f"groups/{group}"
    problem = await operator.refused("PATCH", path, {"title": "B"}, status=403, code="not_permitted", headers=match)
    assert problem["permission"] == "group.update"
    escrow_off = {"escrow": {"enabled": False}}
    problem = await estate.api.refused("PATCH", path, escrow_off, status=403, code="not_permitted", headers=match)
    assert problem["permission"] == "escrow.disable"


async def test_a_destructive_permission_is_granted_by_name(estate: Estate) -> None:
    group = await estate.link(await estate.azure.vault())
    alice = next(one for one in await estate.api.pages("members") if one["role"] == "admin")
    member = f"groups/{group}/members/{alice['id']}"
    unknown = {"role": "admin", "extra": ["key.read"]}
    await estate.api.refused("PUT", member, unknown, status=400, code="extra_unknown")
    await estate.api.put(member, {"role": "admin", "extra": ["escrow.disable"]})
    off = await estate.api.change("PATCH", f"groups/{group}", {"escrow": {"enabled": False}})
    assert off["escrow"]["enabled"] is False


async def test_a_service_principal_acts_as_its_application(site: Site, estate: Estate) -> None:
    program = await estate.azure.new_application()
    group = await estate.source_group()
    bound_to = {"tenant_id": program["tenant_id"], "object_id": program["object_id"]}
    body = {"title": "A", "groups": {group: "operator"}, "service_principal": bound_to}
    made = await estate.api.post("applications", body)
    await estate.api.refused("POST", "applications", body, status=409, code="identity_in_use")
    form = {
        "grant_type": "client_credentials",
        "client_id": program["client_id"],
        "client_secret": program["secret"],
        "scope": f"{API_AUDIENCE}/.default",
    }
    url = f"{site.stack.entra_url}/{program['tenant_id']}/oauth2/v2.0/token"
    async with site.session.post(url, data=form) as response:
        token = site.ledger.add("application token", (await response.json())["access_token"])
    caller = site.bearer(token)
    me = await caller.get("me")
    assert (me["caller"]["kind"], me["accounts"][0]["principal"]) == ("service_principal", made["id"])
    within = caller.within(f"accounts/{estate.account}/")
    assert [one["id"] for one in await within.pages("groups")] == [group]
    await estate.api.change("PATCH", f"applications/{made['id']}", {"disabled": True})
    await within.refused("GET", "groups", status=404, code="account_not_found")

