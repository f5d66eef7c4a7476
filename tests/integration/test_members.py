"""Members over HTTP: what is malformed, who has to stay, and what no role brings."""

import pytest

from local.emulator.seeds import USER_OBJECT_IDS
from tests.integration.client import Json
from tests.integration.estate import Estate


async def invite(estate: Estate, **members: str) -> Json:
    added: Json = await estate.api.post("members", members)
    return added


async def test_an_invitation_of_somebody_else_binds_nobody(estate: Estate) -> None:
    invited = await invite(estate, role="admin", email="somebody-else@contoso.example")
    await (await estate.as_user("bob")).refused("GET", "groups", status=404, code="account_not_found")
    assert (await estate.api.get(f"members/{invited['id']}"))["object_id"] is None


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


async def test_a_destructive_permission_is_granted_by_name(estate: Estate) -> None:
    group = await estate.link(await estate.azure.vault())
    alice = next(one for one in await estate.api.pages("members") if one["role"] == "admin")
    member = f"groups/{group}/members/{alice['id']}"
    escrow_off, path = {"escrow": {"enabled": False}}, f"groups/{group}"
    match = {"If-Match": (await estate.api.done("GET", path)).etag}
    problem = await estate.api.refused("PATCH", path, escrow_off, status=403, code="not_permitted", headers=match)
    assert problem["permission"] == "escrow.disable"
    await estate.api.put(member, {"role": "admin", "extra": ["escrow.disable"]})
    off = await estate.api.change("PATCH", path, escrow_off)
    assert off["escrow"]["enabled"] is False
