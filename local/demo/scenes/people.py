"""Who works with Keysteward: the first admin makes an account, and an auditor comes in by e-mail."""

from local.demo.client import Keysteward
from local.demo.expect import expect
from local.demo.stage import Group, Stage
from local.emulator.seeds import USER_DOMAIN


async def open_account(stage: Stage) -> Keysteward:
    """Sign alice in, have her make the account, and return her in it."""
    show = stage.show
    show.scene("Alice signs in and makes an account")
    show.say("Alice has a token of Entra ID. The deployment named her first admin, so she may make accounts.")
    alice = await stage.user("alice")
    me = await alice.get("me")
    show.answer([("caller", me["caller"]["display_name"]), ("may", ", ".join(me["permissions"]))])
    expect("alice's permissions on the platform", "account.create" in me["permissions"], wanted=True)
    account = await alice.post("accounts", {"title": "Contoso"})
    show.answer([("account", f"{account['title']} ({account['id']})")])
    return alice.within(f"accounts/{account['id']}/")


async def invite_auditor(stage: Stage, alice: Keysteward, group: Group) -> Keysteward:
    """Have alice invite bob by e-mail and make him auditor of one group; return him signed in."""
    show = stage.show
    show.scene(f"Bob is invited as auditor of the group {group.title!r}")
    invited = await alice.post("members", {"role": "member", "email": f"bob@{USER_DOMAIN}"})
    await alice.put(f"groups/{group.id}/members/{invited['id']}", {"role": "auditor"})
    bob = await stage.user("bob")
    me = await bob.get("me")
    groups = [(one["title"], one["role"]) for account in me["accounts"] for one in account["groups"]]
    show.say("Bob signs in; his invitation is accepted by that. He sees:")
    external = me["accounts"][0]["groups"][0]["external"]
    show.table(("Group", "Role", "In Azure"), [(*one, "yes" if external else "no") for one in groups])
    expect("bob's groups", groups, [(group.title, "auditor")])
    return bob
