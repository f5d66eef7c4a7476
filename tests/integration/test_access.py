"""Members, roles and isolation over HTTP: who sees what, who may do what, and what is not there for a stranger."""

import re
import uuid
from collections.abc import Mapping

import pytest

from core.domain.identifiers import IdKind, new_id
from local.emulator.seeds import CONTOSO_TENANT_ID, USER_OBJECT_IDS
from tests.integration.client import Api, Json, Reply
from tests.integration.estate import Estate, Site

PASSWORD = "Correct-Horse-8"
GONE = "account_not_found"


async def person(site: Site, username: str, tenant: str = CONTOSO_TENANT_ID) -> Json:
    """A user of a tenant."""
    body = {"kind": "user", "display_name": "Erin", "username": username, "password": PASSWORD, "tenant_id": tenant}
    made: Json = await site.control.post("principals", body)
    return made


async def sign_in(site: Site, who: Json, **form: str) -> Api:
    credentials = {"grant_type": "password", "username": who["username"], "password": PASSWORD}
    return site.bearer(await site.entra_token(who, **credentials, **form))


def an_address() -> str:
    return f"erin-{uuid.uuid4().hex}@contoso.example"


async def add(estate: Estate, user: str, role: str) -> Api:
    """Add a seeded user to the account."""
    await estate.api.post("members", {"role": role, "object_id": USER_OBJECT_IDS[user]})
    return await estate.as_user(user)


async def member_id(estate: Estate, user: str) -> str:
    members = await estate.api.pages("members")
    return str(next(one["id"] for one in members if one["object_id"] == USER_OBJECT_IDS[user]))


async def give(estate: Estate, user: str, group: str, role: str, *extra: str) -> None:
    member = await member_id(estate, user)
    await estate.api.put(f"groups/{group}/members/{member}", {"role": role, "extra": list(extra)})


async def test_a_member_by_object_id(estate: Estate) -> None:
    bob = await estate.as_user("bob")
    await bob.refused("GET", "groups", status=404, code=GONE)
    reply = await estate.api.done("POST", "members", {"role": "member", "object_id": USER_OBJECT_IDS["bob"].upper()})
    added = reply.json
    assert reply.headers["Location"].endswith(f"/members/{added['id']}")
    assert (added["role"], added["object_id"].lower()) == ("member", USER_OBJECT_IDS["bob"])
    assert await bob.get("groups") == {"items": [], "next": None}
    again = {"role": "admin", "object_id": USER_OBJECT_IDS["bob"]}
    await estate.api.refused("POST", "members", again, status=409, code="member_exists")

    await estate.api.change("DELETE", f"members/{added['id']}")
    await bob.refused("GET", "groups", status=404, code=GONE)
    await estate.api.refused("GET", f"members/{added['id']}", status=404, code="member_not_found")


async def test_an_object_id_counts_in_its_tenant_only(estate: Estate) -> None:
    body = {"role": "admin", "object_id": USER_OBJECT_IDS["bob"], "tenant_id": str(uuid.uuid4())}
    await estate.api.post("members", body)
    await (await estate.as_user("bob")).refused("GET", "", status=404, code=GONE)


async def test_an_invitation_is_bound_at_the_first_sign_in(estate: Estate) -> None:
    address = an_address()
    invited = await estate.api.post("members", {"role": "member", "email": address.title()})
    path = f"members/{invited['id']}"
    assert (invited["object_id"], invited["email"]) == (None, address)
    who = await person(estate.site, address)
    erin = await sign_in(estate.site, who)
    assert [mine["id"] for mine in (await erin.get("me"))["accounts"]] == [estate.account]
    bound = await estate.api.get(path)
    assert (bound["object_id"], bound["tenant_id"]) == (who["object_id"], CONTOSO_TENANT_ID)
    assert await erin.get(f"accounts/{estate.account}/groups") == {"items": [], "next": None}

    # Whoever gets the address later is somebody else.
    await estate.site.control.delete(f"principals/{who['object_id']}")
    heir = await sign_in(estate.site, await person(estate.site, address))
    assert (await heir.get("me"))["accounts"] == []
    await heir.refused("GET", f"accounts/{estate.account}/groups", status=404, code=GONE)
    assert (await estate.api.get(path))["object_id"] == who["object_id"]


async def test_an_address_in_another_tenant_is_not_the_invited_one(estate: Estate) -> None:
    address, site = an_address(), estate.site
    invited = await estate.api.post("members", {"role": "admin", "email": address})
    tenant = await site.control.post(
        "tenants", {"display_name": f"t{uuid.uuid4().hex}", "api_audiences": ["api://keysteward"]}
    )
    application = await site.control.post("principals", {"display_name": "A", "tenant_id": tenant["id"]})
    site.ledger.add("client secret", application["secret"])
    stranger = await person(site, address, tenant["id"])
    caller = await sign_in(site, stranger, client_id=application["client_id"])
    reply = await caller.send("GET", f"accounts/{estate.account}/groups")
    assert reply.status == 401
    assert (await estate.api.get(f"members/{invited['id']}"))["object_id"] is None

    await site.control.delete(f"principals/{stranger['object_id']}")
    ours = await sign_in(site, await person(site, address))
    assert (await ours.get("me"))["accounts"][0]["role"] == "admin"
    elsewhere = {"role": "member", "email": an_address(), "tenant_id": tenant["id"]}
    await estate.api.refused("POST", "members", elsewhere, status=400, code="email_outside_home_tenant")


#: What is asked, with what body, and the permission for it. `{group}` is a source group.
QUESTIONS: Mapping[str, tuple[str, str, Json | None]] = {
    "account.update": ("PATCH", "", {"title": "T"}),
    "member.read": ("GET", "members", None),
    "member.write": ("POST", "members", {"role": "member", "email": "x@contoso.example"}),
    "application.read": ("GET", "applications", None),
    "application.write": ("POST", "applications", {"title": "T"}),
    "api_key.read": ("GET", "applications/{application}/api-keys", None),
    "api_key.write": ("POST", "applications/{application}/api-keys", None),
    "connection.test": ("POST", "connections/test", {}),
    "group.create": ("POST", "groups", {"kind": "source", "title": "T"}),
    "group.read": ("GET", "groups/{group}", None),
    "group.update": ("PATCH", "groups/{group}", {"title": "T"}),
    "group.sync": ("POST", "groups/{group}/sync", None),
    "group.test": ("POST", "groups/{group}/connection/test", None),
    "group_member.read": ("GET", "groups/{group}/members", None),
    "group_member.write": ("DELETE", "groups/{group}/members/{nobody}", None),
    "group.delete": ("DELETE", "groups/{group}", None),
}
ACCOUNT_ADMIN = frozenset(QUESTIONS)
ACCOUNT_READER = frozenset({"member.read", "application.read"})
ACCOUNT_MEMBER = ACCOUNT_READER | {"connection.test", "group.create"}
GROUP_READER = frozenset({"group.read", "group_member.read"})
GROUP_OPERATOR = GROUP_READER | {"group.sync", "group.test"}
GROUP_ADMIN = GROUP_OPERATOR | {"group.update", "group.delete", "group_member.write"}
HIDDEN = frozenset(name for name, (_, path, _) in QUESTIONS.items() if "{group}" in path)


async def answers(estate: Estate, caller: Api, group: str, application: str) -> tuple[frozenset[str], frozenset[str]]:
    """Ask all questions, with an ETag that is of nothing: the permissions held, and those that a 404 hides."""
    held, hidden = set(), set()
    places = {"group": group, "application": application, "nobody": new_id(IdKind.PRINCIPAL)}
    for permission, (method, path, body) in QUESTIONS.items():
        etag = {"If-Match": '"bm90aGluZw"'}
        reply = await caller.send(method, path.format(**places), body, headers=etag)
        code = reply.json.get("code") if reply.status >= 400 else None
        if code == "group_not_found":
            hidden.add(permission)
        elif code == "not_permitted":
            assert (reply.status, reply.json["permission"]) == (403, permission)
        else:
            assert reply.status not in {401, 403}, reply.content
            held.add(permission)
    return frozenset(held), frozenset(hidden)


@pytest.mark.parametrize(
    ("role", "group_role", "held", "hidden"),
    [
        ("admin", None, ACCOUNT_ADMIN, frozenset()),
        ("auditor", None, ACCOUNT_READER | GROUP_READER | {"api_key.read"}, frozenset()),
        ("auditor", "auditor", ACCOUNT_READER | GROUP_READER | {"api_key.read"}, frozenset()),
        ("member", None, ACCOUNT_MEMBER, HIDDEN),
        ("member", "auditor", ACCOUNT_MEMBER | GROUP_READER, frozenset()),
        ("member", "operator", ACCOUNT_MEMBER | GROUP_OPERATOR, frozenset()),
        ("member", "admin", ACCOUNT_MEMBER | GROUP_ADMIN, frozenset()),
    ],
)
async def test_roles_of_members(
    estate: Estate, role: str, group_role: str | None, held: frozenset[str], hidden: frozenset[str]
) -> None:
    group = await estate.source_group()
    application = (await estate.api.post("applications", {"title": "P"}))["id"]
    bob = await add(estate, "bob", role)
    if group_role:
        await give(estate, "bob", group, group_role)
    assert await answers(estate, bob, group, application) == (held, hidden)


@pytest.mark.parametrize(
    ("group_role", "held"),
    [
        ("application", frozenset({"group.read"})),
        ("auditor", GROUP_READER),
        ("operator", GROUP_OPERATOR),
        ("admin", GROUP_ADMIN),
    ],
)
async def test_roles_of_applications(estate: Estate, group_role: str, held: frozenset[str]) -> None:
    group, other = await estate.source_group(), await estate.source_group()
    program = await estate.application({group: group_role})
    application = (await estate.api.get("applications"))["items"][0]["id"]
    assert await answers(estate, program, group, application) == (held, frozenset())
    assert await answers(estate, program, other, application) == (frozenset(), HIDDEN)


async def test_roles_that_do_not_fit(estate: Estate) -> None:
    group = await estate.source_group()
    await add(estate, "bob", "auditor")
    await add(estate, "carol", "member")
    path = f"groups/{group}/members"
    bob, carol = await member_id(estate, "bob"), await member_id(estate, "carol")
    operator, application = {"role": "operator"}, {"role": "application"}
    await estate.api.refused("PUT", f"{path}/{bob}", operator, status=400, code="role_for_auditor")
    await estate.api.refused("PUT", f"{path}/{carol}", application, status=400, code="role_for_applications")
    unknown = {"role": "operator", "extra": ["key.rotate"]}
    await estate.api.refused("PUT", f"{path}/{carol}", unknown, status=400, code="extra_unknown")
    auditor = {"role": "auditor", "extra": ["key.purge"]}
    await estate.api.refused("PUT", f"{path}/{carol}", auditor, status=400, code="extra_for_auditor")
    assert [one["id"] for one in await estate.api.pages(path)] == [await member_id(estate, "alice")]


async def test_what_destroys_is_granted_by_account_admins_one_by_one(estate: Estate) -> None:
    group = await estate.source_group()
    bob = await add(estate, "bob", "member")
    await add(estate, "carol", "member")
    await give(estate, "bob", group, "admin")
    carol = f"groups/{group}/members/{await member_id(estate, 'carol')}"
    grant = {"role": "operator", "extra": ["key.purge"]}
    problem = await bob.refused("PUT", carol, grant, status=403, code="not_permitted")
    assert problem["permission"] == "group_member.grant_extra"
    await bob.refused("GET", carol, status=404, code="group_member_not_found")

    assert (await estate.api.put(carol, grant))["extra"] == ["key.purge"]
    # A group's admin may leave it, or take it away, but not add to it.
    assert (await bob.put(carol, grant))["extra"] == ["key.purge"]
    more = {"role": "operator", "extra": ["key.purge", "key.export"]}
    await bob.refused("PUT", carol, more, status=403, code="not_permitted")
    mine = await (await estate.site.user("carol")).get("me")
    account = next(one for one in mine["accounts"] if one["id"] == estate.account)
    assert [(one["role"], one["extra"]) for one in account["groups"]] == [("operator", ["key.purge"])]
    assert (await bob.put(carol, {"role": "operator"}))["extra"] == []


async def test_no_group_begins_without_escrow(estate: Estate) -> None:
    body = {"kind": "source", "title": "S", "escrow": {"enabled": False}}
    problem = await estate.api.refused("POST", "groups", body, status=403, code="not_permitted")
    assert problem["permission"] == "escrow.disable"


async def test_only_the_first_admin_makes_accounts(site: Site) -> None:
    bob = await site.user("bob")
    for path, body, permission in (
        ("accounts", {"title": "Mine"}, "account.create"),
        ("platform/sealing-key/rotate", None, "sealing_key.rotate"),
    ):
        problem = await bob.refused("POST", path, body, status=403, code="not_permitted")
        assert problem["permission"] == permission
    assert (await bob.get("me"))["permissions"] == []
    assert (await (await site.user("alice")).get("me"))["permissions"] == ["account.create", "sealing_key.rotate"]


def bare(reply: Reply) -> tuple[int, bytes, list[str]]:
    """All that an answer tells but for its correlation id and its time."""
    content = reply.content.replace(reply.headers["x-correlation-id"].encode(), b"")
    return reply.status, content, sorted(set(reply.headers) - {"Date"})


def invented(path: str) -> str:
    """The path with other well-formed ids."""
    kinds = {kind.value: kind for kind in IdKind}
    return re.sub(r"\b([a-z]{3})_[a-z2-7]{24}\b", lambda found: new_id(kinds[found[1]]), path)


async def hidden(caller: Api, method: str, path: str, body: Json | None = None, etag: str | None = None) -> None:
    """Assert that what is there is answered with the bytes of what is not."""
    headers = {"If-Match": etag} if etag else {}
    real = await caller.send(method, path, body, headers=headers)
    assert real.status == 404, (path, real.content)
    assert bare(real) == bare(await caller.send(method, invented(path), body, headers=headers)), path


async def all_of(estate: Estate) -> list[str]:
    """Make one object of each kind; the paths of all."""
    group = await estate.link(await estate.azure.vault(keys=[{"name": "k"}]))
    job = (await estate.sync(group))["id"]
    key = next(iter((await estate.keys(group)).values()))["id"]
    member, application = (
        await member_id(estate, "alice"),
        (await estate.api.post("applications", {"title": "P"}))["id"],
    )
    api_key = (await estate.api_key(application))["id"]
    in_group = ("", "/members", f"/members/{member}", f"/keys/{key}", f"/keys/{key}/versions", f"/keys/{key}/escrow")
    paths = [f"groups/{group}{rest}" for rest in in_group]
    paths += [f"jobs/{job}", f"applications/{application}", f"applications/{application}/api-keys/{api_key}"]
    for path in paths:
        assert (await estate.api.send("GET", path)).status == 200, path
    return paths


async def test_ids_guessed_by_a_stranger_are_not_there(estate: Estate) -> None:
    paths = await all_of(estate)
    elsewhere = await estate.site.estate()
    program = await elsewhere.api.post("applications", {"title": "P"})
    text = (await elsewhere.api_key(program["id"]))["api_key"]
    for stranger in (await estate.site.user("bob"), estate.site.bearer(text)):
        for path in ("", *paths, f"members/{await member_id(estate, 'alice')}"):
            await hidden(stranger, "GET", f"accounts/{estate.account}/{path}".rstrip("/"))
        for path, body in (("groups", {"kind": "source", "title": "S"}), ("applications", {"title": "P"})):
            await hidden(stranger, "POST", f"accounts/{estate.account}/{path}", body)
    # The admin of another account, who would be permitted everything there.
    for path in paths:
        await hidden(elsewhere.api, "GET", path)


async def test_ids_guessed_by_a_member_without_a_role_are_not_there(estate: Estate) -> None:
    paths = [path for path in await all_of(estate) if not path.startswith("applications")]
    group = paths[0]
    bob = await add(estate, "bob", "member")
    for path in paths:
        await hidden(bob, "GET", path)
    for path in (f"{group}/sync", f"{group}/connection/test", f"{paths[-1]}/cancel"):
        await hidden(bob, "POST", path)
    etag = (await estate.api.done("GET", group)).etag
    await hidden(bob, "PATCH", group, {"title": "x"}, etag)
    await hidden(bob, "DELETE", group, None, etag)
    for lists in ("groups", "keys", "jobs", "findings"):
        assert await bob.pages(lists) == []
        assert lists == "findings" or await estate.api.pages(lists) != []


async def test_an_accounts_id_guessed_is_as_one_that_is_not_there(estate: Estate) -> None:
    bob = await estate.site.user("bob")
    answers = set()
    for account in (estate.account, new_id(IdKind.ACCOUNT), "acc_short", "nonsense"):
        for path in ("", "/groups", "/members", f"/groups/{new_id(IdKind.GROUP)}"):
            status, content, _ = bare(await bob.send("GET", f"accounts/{account}{path}"))
            answers.add((status, content))
    assert len(answers) == 1
    assert estate.account not in {one["id"] for one in await bob.pages("accounts")}


async def test_accounts_are_isolated(estate: Estate) -> None:
    """Admin of both, and nothing of one leads into the other."""
    other = await estate.site.estate()
    group, theirs = await estate.source_group(), await other.source_group()
    bob = await add(other, "bob", "admin")
    await estate.api.refused("GET", f"groups/{theirs}", status=404, code="group_not_found")
    assert [one["id"] for one in await estate.api.pages("groups")] == [group]
    assert [one["id"] for one in await bob.pages("groups")] == [theirs]
    member = await member_id(other, "bob")
    await estate.api.refused("GET", f"members/{member}", status=404, code="member_not_found")
    await estate.api.refused(
        "PUT", f"groups/{group}/members/{member}", {"role": "admin"}, status=404, code="principal_not_found"
    )
    foreign = {"title": "P", "groups": {theirs: "operator"}}
    await estate.api.refused("POST", "applications", foreign, status=400, code="group_unknown")
    assert await estate.api.get("keys", group=theirs) == {"items": [], "next": None}


async def test_me_shows_my_accounts_and_groups(estate: Estate) -> None:
    wrong = estate.site.ledger.add("wrong client secret", "wrong-" + uuid.uuid4().hex)
    credential = {"kind": "client_secret", "secret": wrong}
    linked = await estate.link(await estate.azure.vault())
    lost = (await estate.group(connection=estate.azure.connection(credential=credential)))["id"]
    sources = await estate.source_group()
    await add(estate, "dave", "member")
    dave = await estate.site.user("dave")

    async def mine() -> Json:
        accounts = (await dave.get("me"))["accounts"]
        return next(one for one in accounts if one["id"] == estate.account)

    assert ((await mine())["role"], (await mine())["groups"]) == ("member", [])
    for group in (linked, lost, sources):
        await give(estate, "dave", group, "operator")
    shown = {one["id"]: (one["external"], one["connection"], one["role"]) for one in (await mine())["groups"]}
    assert shown == {
        linked: (True, "connected", "operator"),
        lost: (True, "not_connected", "operator"),
        sources: (False, "not_applicable", "operator"),
    }
    await estate.api.done("DELETE", f"groups/{sources}/members/{await member_id(estate, 'dave')}")
    assert sources not in {one["id"] for one in (await mine())["groups"]}
    await estate.api.change("PATCH", f"members/{await member_id(estate, 'dave')}", {"role": "auditor"})
    assert sources in {one["id"] for one in (await mine())["groups"]}
    assert estate.account in {one["id"] for one in await dave.pages("accounts")}
