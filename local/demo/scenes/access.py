"""Who sees what: an application with an API key, an auditor, and a stranger."""

from local.demo.client import Json, Keysteward
from local.demo.expect import expect
from local.demo.show import shortened
from local.demo.stage import Group, Stage


async def read_with_api_key(stage: Stage, alice: Keysteward, group: Group) -> None:
    """Issue an API key to an application of one group, and read with it."""
    show = stage.show
    show.scene(f"An application gets an API key for the group {group.title!r}")
    application = await alice.post("applications", {"title": "Checkout", "groups": {group.id: "application"}})
    issued = await alice.post(f"applications/{application['id']}/api-keys")
    api_key: str = issued["api_key"]
    show.say(f"The key is in this answer and nowhere else: {shortened(api_key)} ({len(api_key)} characters)")
    checkout = stage.caller(api_key)
    me = await checkout.get("me")
    account = me["accounts"][0]["id"]
    listed = await checkout.pages(f"accounts/{account}/keys")
    show.say(f"It reads {len(listed)} keys, all of that group, and may not do more than that:")
    expect("groups of the keys that the application sees", {one["group"] for one in listed}, {group.id})
    expect("number of keys that the application sees", len(listed), group.vault.seeded.total)
    problem = await checkout.refused("POST", f"accounts/{account}/groups/{group.id}/sync")
    _show_problem(stage, problem)
    expect("answer to the application", _essence(problem), (403, "not_permitted", "group.sync"))
    stage.seen.append(
        ("Application with an API key", f"read {len(listed)} keys of its group; a sync is refused with 403")
    )


async def refuse_others(stage: Stage, bob: Keysteward, groups: list[Group]) -> None:
    """Show what an auditor and a stranger are told."""
    show = stage.show
    first, second, *_ = groups
    show.scene("What one sees but may not do is a 403, what one may not see does not exist")
    account = (await bob.get("me", quiet=True))["accounts"][0]["id"]
    in_account = bob.within(f"accounts/{account}/")
    show.say(f"Bob, auditor of {first.title!r}, reads it, but cannot sync it, and sees no other group:")
    await in_account.get(f"groups/{first.id}")
    syncing = await in_account.refused("POST", f"groups/{first.id}/sync")
    _show_problem(stage, syncing)
    expect("answer to bob's sync", _essence(syncing), (403, "not_permitted", "group.sync"))
    other = await in_account.refused("GET", f"groups/{second.id}")
    _show_problem(stage, other)
    expect("answer about a group that bob does not see", _essence(other), (404, "group_not_found", None))
    show.say("Carol has signed in to the same tenant, knows the account's id, and is nobody there:")
    carol = (await stage.user("carol")).within(f"accounts/{account}/")
    stranger = await carol.refused("GET", f"groups/{first.id}")
    _show_problem(stage, stranger)
    expect("answer to a stranger", _essence(stranger), (404, "account_not_found", None))
    stage.seen.append(("Auditor and stranger", "403 names the missing permission; 404 tells nothing"))


def _show_problem(stage: Stage, problem: Json) -> None:
    names = ("code", "detail", "permission")
    stage.show.answer((name, problem[name]) for name in names if name in problem)


def _essence(problem: Json) -> tuple[int, str, str | None]:
    return problem["status"], problem["code"], problem.get("permission")
