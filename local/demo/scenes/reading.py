"""Looking at keys: lists by filters, one key in every detail, and what wants attention."""

import base64
from collections import Counter
from datetime import UTC, datetime, timedelta

from azure.keyvault.keys.aio import KeyClient

from local.demo.client import Json, Keysteward
from local.demo.expect import expect
from local.demo.seeds import keys_that
from local.demo.show import shortened
from local.demo.stage import Group, Stage

_SOON = timedelta(days=30)
_DETAILED = "settlement-root"


async def list_by_filters(stage: Stage, alice: Keysteward, groups: list[Group]) -> None:
    """List the keys of all groups in several ways, and check every number."""
    stage.show.scene("The keys of all vaults in one list, by filters")
    soon = f"{datetime.now(UTC) + _SOON:%Y-%m-%dT%H:%M:%SZ}"
    first = groups[0]
    asked: tuple[tuple[dict[str, str], int], ...] = (
        ({}, keys_that(lambda _: True)),
        ({"state": "deactivated"}, keys_that(lambda seed: seed.state == "deactivated")),
        ({"state": "pre-active"}, keys_that(lambda seed: seed.state == "pre-active")),
        ({"state": "soft-deleted"}, keys_that(lambda seed: seed.state == "soft-deleted")),
        ({"type": "RSA-HSM"}, keys_that(lambda seed: seed.members["kty"] == "RSA-HSM")),
        ({"text": "sign"}, keys_that(lambda seed: "sign" in seed.name)),
        ({"group": first.id, "tag": "env=prod"}, keys_that(lambda seed: _is_prod(seed.members), [first.vault.seeded])),
        ({"sort": "expires_on", "expires_before": soon}, keys_that(lambda seed: "expires_offset" in seed.members)),
    )
    rows = []
    for query, wanted in asked:
        found = await alice.pages("keys", query)
        expect(f"number of keys with {query}", len(found), wanted)
        rows.append((_words(query), len(found), found[0]["name"]))
    stage.show.table(("Filter", "Keys", "The first of them"), rows)
    stage.seen.append(("Filters of the list", f"{len(asked)} lists, every number as seeded"))


async def show_one(stage: Stage, alice: Keysteward, group: Group, vault: KeyClient) -> None:
    """Show a key with versions and escrow, and compare its public key with the vault's own answer."""
    show = stage.show
    show.scene("One key in detail")
    key = await find_key(alice, group, _DETAILED, quiet=False)
    show.answer((name, key[name]) for name in ("name", "state", "type", "size", "origin", "kid"))
    show.answer([("operations", ", ".join(key["operations"])), ("found by", key["created_by"]["kind"])])
    columns = ("Version", "Id", "Created", "State", "Thumbprint of its public key (RFC 7638)")
    show.table(columns, [_version(one) for one in key["versions"]])
    show_escrow(stage, key["escrow"])
    expect("versions covered by the escrow", set(key["escrow"][0]["versions"]), {one["id"] for one in key["versions"]})
    current = (await vault.get_key(_DETAILED)).key
    modulus = base64.urlsafe_b64encode(current.n).decode().rstrip("=")  # type: ignore[attr-defined]  # set at run time
    expect("public key, compared with the vault's answer", key["versions"][0]["public_key"]["n"], modulus)
    show.say("Asked with the official SDK, the vault shows the same public key.")
    stage.seen.append(("One key", f"{key['name']}: {key['versions_total']} versions, public key as in the vault"))


async def list_findings(stage: Stage, alice: Keysteward, groups: list[Group]) -> None:
    """Show what wants attention, and expect what the seeded keys call for."""
    stage.show.scene("What wants attention")
    findings = await alice.pages("findings")
    counts = Counter(one["code"] for one in findings)
    latest = {one["code"]: one for one in findings}
    rows = [(one["severity"], code, counts[code], one["advice"]) for code, one in latest.items()]
    stage.show.table(("Severity", "Finding", "Times", "What to do"), rows)
    deleted = keys_that(lambda seed: seed.state == "soft-deleted")
    wanted = {"deleted_without_escrow": deleted, "no_purge_protection": len(groups), "credential_expiring": 1}
    # Those about dates come with an hourly timer, which may tick now or not.
    expect("findings", {code: count for code, count in counts.items() if not code.startswith("key_expir")}, wanted)
    stage.seen.append(("Findings", ", ".join(f"{count} {code}" for code, count in counts.items())))


async def find_key(alice: Keysteward, group: Group, azure_name: str, *, quiet: bool = True) -> Json:
    """Return the detail of the key with this name in the group's vault."""
    query = {"group": group.id, "text": azure_name, "limit": "200"}
    page = await alice.get("keys", query, quiet=True)
    ids = [one["id"] for one in page["items"] if one["azure_name"] == azure_name]
    expect(f"keys named {azure_name} in {group.title}", len(ids), 1)
    return await alice.get(f"groups/{group.id}/keys/{ids[0]}", quiet=quiet)


def show_escrow(stage: Stage, generations: list[Json]) -> None:
    """Print escrow generations, the newest first."""
    rows = [
        (
            shortened(one["id"]),
            len(one["versions"]),
            one["length"],
            shortened(one["digest"]),
            f"{one['verified_on'][:19]}Z",
        )
        for one in generations
    ]
    stage.show.table(("Escrow generation", "Versions", "Sealed bytes", "SHA-256", "Verified"), rows)


def _version(version: Json) -> tuple[object, ...]:
    created = version["created_on"][:10]
    thumbprint = version["public_key"]["thumbprint"]
    return version["number"], shortened(version["id"]), created, version["state"], thumbprint


def _is_prod(members: Json) -> bool:
    return bool(members.get("tags", {}).get("env") == "prod")


def _words(query: dict[str, str]) -> str:
    if "expires_before" in query:
        return f"expired, or will within {_SOON.days} days"
    if "group" in query:
        return "in the group Payments, tag env=prod"
    return ", ".join(f"{name} {value}" for name, value in query.items()) or "all"
