"""Pages: order, links, sizes, empty pages, and pages of a large vault."""

import base64
import json
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from local.emulator.client import ControlClient

from .clients import Answer, ClientOf, MakeRaw, MakeVault, RawClient, TestVault


async def walk(raw: RawClient, path: str) -> list[Answer]:
    """Return all pages from `path` on."""
    pages = [await raw("GET", path)]
    while link := pages[-1].json.get("nextLink"):
        pages.append(await raw("GET", link))
    return pages


def names(pages: list[Answer]) -> list[str]:
    return [item["kid"].rsplit("/", 1)[1] for page in pages for item in page.json["value"]]


async def seeded(control: ControlClient, vault: TestVault, *seeds: dict[str, object]) -> None:
    await control.post(f"vaults/{vault.name}/keys", {"keys": list(seeds)})


@pytest.mark.parametrize("sku", ["standard", "managed_hsm"])
async def test_names_are_sorted_without_case(
    control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault, sku: str
) -> None:
    vault = await make_vault(sku)
    await seeded(control, vault, *({"name": name} for name in ("b", "C", "a-1", "A0", "d")))

    assert names(await walk(await raw_of(vault), "/keys")) == ["a-1", "A0", "b", "C", "d"]


@pytest.mark.parametrize("sku", ["standard", "managed_hsm"])
@pytest.mark.parametrize("deleted", [False, True])
async def test_pages_hold_25_unless_fewer_are_asked_for(
    control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault, sku: str, deleted: bool
) -> None:
    vault = await make_vault(sku)
    await seeded(control, vault, {"name": "key", "count": 60, "deleted": deleted})
    raw = await raw_of(vault)
    path = "/deletedkeys" if deleted else "/keys"

    default, small = await walk(raw, path), await walk(raw, f"{path}?maxresults=20")

    assert [len(page.json["value"]) for page in default] == [25, 25, 10]
    assert [len(page.json["value"]) for page in small] == [20, 20, 20]
    assert names(default) == names(small) == [f"key-{index:06}" for index in range(60)]


async def test_vault_links(control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault) -> None:
    vault = await make_vault("standard")
    await seeded(control, vault, {"name": "key", "count": 3})
    raw = await raw_of(vault)

    first, last = await walk(raw, "/keys?maxresults=2")

    link = urlsplit(first.json["nextLink"])
    assert f"https://{link.netloc}" == vault.url
    assert link.path == "/keys"
    query = parse_qs(link.query)
    assert list(query) == ["api-version", "$skiptoken", "maxresults"]
    token = query["$skiptoken"][0]
    assert set(json.loads(base64.urlsafe_b64decode(token + "=="))) == {"NextMarker", "TargetLocation"}
    assert list(last.json) == ["value", "nextLink"]
    assert last.json["nextLink"] is None


async def test_the_port_of_a_link_is_written_out(
    raw_of: MakeRaw, make_vault: MakeVault, control: ControlClient
) -> None:
    vault = await make_vault("standard")
    await seeded(control, vault, {"name": "key", "count": 2})

    page = await (await raw_of(vault))("GET", "/keys?maxresults=1", Host="contoso.vault.azure.net")

    assert page.json["nextLink"].startswith("https://contoso.vault.azure.net:443/keys?")


async def test_hsm_links(control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault) -> None:
    vault = await make_vault("managed_hsm")
    await seeded(control, vault, {"name": "key", "versions": 3})
    raw = await raw_of(vault)

    first, last = await walk(raw, "/keys/key/versions?maxresults=2")

    assert list(first.json) == ["nextLink", "value"]
    assert list(parse_qs(urlsplit(first.json["nextLink"]).query)) == ["maxresults", "$skiptoken"]
    assert list(last.json) == ["value"]


@pytest.mark.parametrize("value", ["0", "26", "-1", "x", "²", "", "9" * 5000])
async def test_other_sizes_are_refused(raw_of: MakeRaw, either: TestVault, value: str) -> None:
    answer = await (await raw_of(either))("GET", f"/keys?maxresults={value}")

    assert answer.error == (400, "BadParameter", None)


@pytest.mark.parametrize("token", ["x", "e30", "W10", "eyJOZXh0TWFya2VyIjoxfQ", "eyJOZXh0TWFya2VyIjoiMiE0IWFhIn0"])
async def test_forged_tokens_are_refused(raw_of: MakeRaw, vault: TestVault, token: str) -> None:
    answer = await (await raw_of(vault))("GET", f"/keys?$skiptoken={token}")

    assert answer.error == (400, "BadParameter", None)


@pytest.mark.parametrize("path", ["/keys", "/deletedkeys", "/keys/live-000000/versions"])
@pytest.mark.parametrize("sku", ["standard", "managed_hsm"])
async def test_an_injected_empty_page_leads_to_the_page_asked_for(
    control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault, fresh_conditions: None, sku: str, path: str
) -> None:
    vault = await make_vault(sku)
    await seeded(
        control,
        vault,
        {"name": "live", "count": 2, "versions": 3},
        {"name": "gone", "count": 2, "deleted": True},
    )
    raw = await raw_of(vault)
    whole = names(await walk(raw, path))
    await control.post("faults", {"vault": vault.name, "action": {"kind": "empty_page"}, "count": 1})

    pages = await walk(raw, path)

    assert [bool(page.json["value"]) for page in pages] == [False, True]
    assert names(pages) == whole != []


async def test_keys_in_the_middle_of_a_deletion_leave_a_page_short(
    control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault
) -> None:
    vault = await make_vault("standard")
    await seeded(control, vault, {"name": "key", "count": 2})
    raw = await raw_of(vault)
    await raw("DELETE", "/keys/key-000000")

    assert names(await walk(raw, "/keys")) == ["key-000001"]
    assert names(await walk(raw, "/deletedkeys?maxresults=1")) == []


async def test_a_name_that_appears_between_pages_is_neither_doubled_nor_lost(
    control: ControlClient, client_of: ClientOf, make_vault: MakeVault
) -> None:
    vault = await make_vault("standard")
    await seeded(control, vault, {"name": "key", "count": 30})
    client = client_of(vault)
    seen: list[str] = []
    async for item in client.list_properties_of_keys():
        seen.append(item.name)
        if len(seen) == 1:
            await seeded(control, vault, {"name": "aaa"}, {"name": "zzz"})

    assert seen == [f"key-{index:06}" for index in range(30)] + ["zzz"]


async def test_pages_of_a_large_vault_cost_what_pages_of_a_small_one_cost(
    control: ControlClient, raw_of: MakeRaw, make_vault: MakeVault
) -> None:
    small, large = await make_vault("standard"), await make_vault("standard")
    await seeded(control, small, {"name": "key", "count": 100})
    await seeded(control, large, {"name": "key", "count": 30_000})

    async def best(vault: TestVault) -> float:
        raw = await raw_of(vault)
        path = (await raw("GET", "/keys")).json["nextLink"]
        times = []
        for _ in range(30):
            started = time.perf_counter()
            assert len((await raw("GET", path)).json["value"]) == 25
            times.append(time.perf_counter() - started)
        return min(times)

    assert await best(large) < 2 * await best(small)
