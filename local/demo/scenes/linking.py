"""Linking vaults: what a wrong secret answers, the connection corrected, the vault selected, its permissions probed."""

from datetime import UTC, datetime, timedelta

from local.demo.client import Json, Keysteward
from local.demo.expect import expect
from local.demo.stage import Application, Group, Stage, Vault

_KEPT_DAYS = 21


async def link_vaults(stage: Stage, alice: Keysteward, vaults: list[Vault], connector: Application) -> list[Group]:
    """Link every vault to a group of its own, the first one with a detour."""
    first, *others = vaults
    saved = await _with_wrong_secret(stage, alice, first, connector)
    report = await _corrected(stage, alice, saved, connector)
    linked = await _selected(alice, saved["id"], report, first)
    stage.show.scene("The other vaults are linked in one step each")
    groups = [(Group(linked["id"], first), linked)]
    for vault in others:
        body = {
            "kind": "azure",
            "title": vault.seeded.title,
            "connection": stage.connection(connector, connector.secret),
            "vault": vault.resource_id,
        }
        made = await alice.post("groups", body)
        expect(f"connection of {vault.seeded.name}", made["connection_state"], "connected")
        groups.append((Group(made["id"], vault), made))
    await _permissions(stage, alice, [group for group, _ in groups])
    stage.seen.append(("Vaults linked", ", ".join(_described(made["vault"]) for _, made in groups)))
    return [group for group, _ in groups]


async def _with_wrong_secret(stage: Stage, alice: Keysteward, vault: Vault, connector: Application) -> Json:
    show = stage.show
    show.scene("The first vault is linked, with a wrong client secret")
    connection = stage.connection(connector, "not-the-secret-of-this-application")
    group = await alice.post("groups", {"kind": "azure", "title": vault.seeded.title, "connection": connection})
    report = group["report"]
    show.say("The group is saved, but it is not connected, and it says why:")
    show.answer((name, report[name]) for name in ("result", "cause", "stage", "detail"))
    found = (report["result"], report["cause"], report["stage"])
    expect("answer to a wrong secret", found, ("not_connected", "secret_wrong", "sign_in"))
    stage.seen.append(("Wrong client secret", f"{report['result']}: {report['cause']}. {report['detail']}"))
    return group


async def _corrected(stage: Stage, alice: Keysteward, group: Json, connector: Application) -> Json:
    show = stage.show
    show.scene("The secret is corrected, and the connection shows the subscription's vaults")
    expires_on = (datetime.now(UTC) + timedelta(days=_KEPT_DAYS)).replace(microsecond=0).isoformat()
    credential = {"kind": "client_secret", "secret": connector.secret, "expires_on": expires_on}
    changed = await alice.change("PATCH", f"groups/{group['id']}", {"connection": {"credential": credential}})
    shown = changed["connection"]["credential"]
    show.say("A secret is write-only. It reads back as:")
    show.answer([("secret", shown["secret"]), ("hint", shown["hint"]), ("expires_on", shown["expires_on"])])
    expect("the secret as it reads back", connector.secret in str(changed), wanted=False)
    expect("result with the right secret", changed["report"]["result"], "connected")
    report = await alice.post(f"groups/{group['id']}/connection/test")
    columns = ("Vault", "Type", "Location", "Purge protection", "Access by")
    show.table(columns, [_discovered(one) for one in report["vaults"]])
    return report


async def _selected(alice: Keysteward, group: str, report: Json, vault: Vault) -> Json:
    offered = {one["resource_id"] for one in report["vaults"]}
    expect("vaults that are not offered", {vault.resource_id} - offered, set())
    selection = {"resource_id": vault.resource_id}
    path = f"groups/{group}"
    linked = await alice.change("PUT", f"{path}/vault", selection, of=path)
    expect("the linked vault", linked["vault"]["uri"].rstrip("/"), vault.uri.rstrip("/"))
    return linked


async def _permissions(stage: Stage, alice: Keysteward, groups: list[Group]) -> None:
    show = stage.show
    show.scene("Which key permissions are held: probed without touching a key")
    reports = [await alice.post(f"groups/{group.id}/connection/test") for group in groups]
    names = list(reports[0]["permissions"])
    rows = [(name, *(report["permissions"][name] for report in reports)) for name in names]
    show.table(("Permission", *(group.title for group in groups)), rows)
    for group, report in zip(groups, reports, strict=True):
        missing = {name for name, state in report["permissions"].items() if state != "held"}
        expect(f"permissions not held on {group.title}", missing, set(group.vault.seeded.missing))
    stage.seen.append(("Permission probe", f"{len(names)} permissions on each vault, none of them by changing a key"))


def _discovered(vault: Json) -> tuple[str, ...]:
    protection, access = "on" if vault["purge_protection"] else "off", "RBAC" if vault["rbac"] else "access policies"
    return vault["name"], vault["type"].replace("_", " "), vault["location"], protection, access


def _described(vault: Json) -> str:
    return f"{vault['name']} ({vault['type'].replace('_', ' ')})"
