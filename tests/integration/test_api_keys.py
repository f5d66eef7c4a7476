"""API keys over HTTP: shown once, revoked, expired, and worth nothing in another account."""

from datetime import UTC, datetime, timedelta

from tests.integration.client import Api
from tests.integration.estate import Estate

#: After so long no instance remembers an API key or a role.
CACHED_SECONDS = 6


async def an_application(estate: Estate) -> str:
    group = await estate.source_group()
    return str((await estate.api.post("applications", {"title": "A", "groups": {group: "application"}}))["id"])


def holder(estate: Estate, issued: dict[str, str]) -> Api:
    return estate.as_application(issued["api_key"])


async def test_an_api_key_is_shown_once_and_works(estate: Estate) -> None:
    application = await an_application(estate)
    issued = await estate.api_key(application)
    assert issued["api_key"].startswith("ks_")
    assert len(await holder(estate, issued).pages("groups")) == 1
    me = await estate.site.bearer(issued["api_key"]).get("me")
    assert (me["caller"]["kind"], me["caller"]["principal"]) == ("api_key", application)
    path = f"applications/{application}/api-keys"
    for shown in (await estate.api.get(f"{path}/{issued['id']}"), (await estate.api.pages(path))[0]):
        assert "api_key" not in shown
        assert issued["api_key"] not in str(shown)


async def test_revocation_counts_at_once(estate: Estate) -> None:
    application = await an_application(estate)
    issued = await estate.api_key(application)
    await holder(estate, issued).get("groups")
    await estate.api.post(f"applications/{application}/api-keys/{issued['id']}/revoke")
    await holder(estate, issued).refused("GET", "groups", status=401, code="api_key_revoked")


async def test_expiry(estate: Estate) -> None:
    application = await an_application(estate)
    ends = datetime.now(UTC) + timedelta(hours=1)
    issued = await estate.api_key(application, {"expires_on": ends.isoformat()})
    await holder(estate, issued).get("groups")
    async with estate.site.product_clock(3_601):
        await holder(estate, issued).refused("GET", "groups", status=401, code="api_key_expired")
    await holder(estate, issued).get("groups")
    past = {"expires_on": (datetime.now(UTC) - timedelta(minutes=1)).isoformat()}
    await estate.api.refused("POST", f"applications/{application}/api-keys", past, status=400, code="expiry_invalid")


async def test_a_disabled_application_and_a_deleted_one(estate: Estate) -> None:
    application = await an_application(estate)
    issued = await estate.api_key(application)
    await holder(estate, issued).get("groups")
    await estate.api.change("PATCH", f"applications/{application}", {"disabled": True})
    assert (await holder(estate, issued).send("GET", "groups")).status in {401, 404}
    async with estate.site.product_clock(CACHED_SECONDS):
        await holder(estate, issued).refused("GET", "groups", status=401, code="application_disabled")
    await estate.api.done("DELETE", f"applications/{application}")
    async with estate.site.product_clock(2 * CACHED_SECONDS):
        await holder(estate, issued).refused("GET", "groups", status=401, code="api_key_invalid")


async def test_an_api_key_is_worth_nothing_in_another_account(estate: Estate) -> None:
    issued = await estate.api_key(await an_application(estate))
    other = await estate.site.estate()
    caller = other.as_application(issued["api_key"])
    await caller.refused("GET", "groups", status=404, code="account_not_found")
