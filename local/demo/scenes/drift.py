"""Changes behind Keysteward's back: what the next sync makes of them."""

import json
import re

from local.demo.client import Keysteward
from local.demo.expect import expect
from local.demo.outside import CHANGES, DELETED, Clients, make_changes, purge
from local.demo.scenes.reading import find_key, show_escrow
from local.demo.scenes.syncing import show_counts, sync
from local.demo.show import shortened
from local.demo.stage import Group, Stage

_VERSION = re.compile("[0-9a-f]{32}")


async def change_and_sync(stage: Stage, alice: Keysteward, groups: list[Group], clients: Clients) -> None:
    """Change keys with the official SDK, sync, and show each drift with before and after."""
    show = stage.show
    show.scene("An administrator changes keys behind Keysteward's back")
    show.say("With the official SDK, straight in the vaults:")
    show.table(("Vault", "Key", "Change"), [(one.vault, one.key, one.words) for one in CHANGES])
    await make_changes(clients)
    show.scene("The next sync finds all of it")
    counts = await sync(stage, alice, groups)
    show_counts(stage, groups, counts)
    drifted = await alice.pages("keys", {"drifted": "true"})
    expect("keys with drift", {one["azure_name"] for one in drifted}, {change.key for change in CHANGES})
    by_vault = {group.vault.seeded.name: group for group in groups}
    rows = []
    for change in CHANGES:
        key = await find_key(alice, by_vault[change.vault], change.key)
        expect(f"drift of {change.key}", [one["kind"] for one in key["drift"]], [change.drift])
        latest = key["drift"][0]
        rows.append((change.key, change.drift, _short(latest["before"]), _short(latest["after"])))
    show.table(("Key", "Drift", "Before", "After"), rows)
    await _check_escrow(alice, by_vault)
    show.say("The new version and the recovered key are in escrow by now; of the latter that was a finding before.")
    stage.seen.append(("Drift", ", ".join(change.drift for change in CHANGES)))


async def purge_and_sync(stage: Stage, alice: Keysteward, group: Group, clients: Clients) -> None:
    """Purge the deleted key in Azure, sync, and show that its escrow is still there."""
    show = stage.show
    show.scene("The deleted key is purged in Azure: gone there, but not its escrow")
    before = await find_key(alice, group, DELETED)
    show.answer([("state", before["state"]), ("Azure purges it on", before["deletion"]["scheduled_purge_on"])])
    expect("state before the purge", before["state"], "soft-deleted")
    await purge(clients[group.vault.seeded.name], DELETED)
    show.say("The administrator purges it. A sync later:")
    counts = await sync(stage, alice, [group])
    expect("purged keys found by the sync", counts[0].get("purged"), 1)
    path = f"groups/{group.id}/keys/{before['id']}"
    key = await alice.get(path)
    escrow = await alice.pages(f"{path}/escrow")
    show.answer([("state", key["state"])])
    show_escrow(stage, escrow)
    columns = ("Its history", "Event", "By")
    show.table(columns, [(one["on"][:19] + "Z", one["event"], one["actor"]["name"]) for one in key["history"]])
    expect("state after the purge", key["state"], "purged")
    expect("versions in the escrow", set(escrow[0]["versions"]), {one["id"] for one in before["versions"]})
    expect("escrow, compared with that before the purge", escrow, before["escrow"])
    expect("its latest drift", (key["drift"][0]["kind"], key["drift"][0]["after"]), ("vanished", "purged"))
    versions = len(escrow[0]["versions"])
    stage.seen.append(("Purged in Azure", f"{key['name']}: its escrow is here ({versions} version, verified)"))


async def _check_escrow(alice: Keysteward, groups: dict[str, Group]) -> None:
    """A new version and a recovered key have to be in escrow now; all that is left to find is the change."""
    for change in CHANGES:
        if change.drift in {"new_version", "recovered"}:
            key = await find_key(alice, groups[change.vault], change.key)
            covered = set(key["escrow"][0]["versions"]) if key["escrow"] else set()
            expect(f"versions of {change.key} in escrow", covered, {one["id"] for one in key["versions"]})
            findings = await alice.pages("findings", {"group": groups[change.vault].id}, quiet=True)
            found = [one["code"] for one in findings if one["key"] == key["id"]]
            expect(f"findings about {change.key}", found, ["drift"])


def _short(value: str | None) -> str:
    """Return one side of a drift for people: tags are JSON, dates `activation..deactivation`."""
    if value in {None, ".."}:
        return "-"
    if value.startswith("{"):
        return ", ".join(f"{name}={tag}" for name, tag in json.loads(value).items()) or "-"
    if _VERSION.fullmatch(value):
        return shortened(value)
    return value.replace("..", "until ").replace("+00:00", "Z").replace(",", ", ")
