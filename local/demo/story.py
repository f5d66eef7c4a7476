"""The demo from the first scene to the last."""

from time import monotonic

from local.demo import outside
from local.demo.scenes import access, azure, drift, linking, people, reading, syncing, unchanged
from local.demo.stage import Stage


async def tell(stage: Stage) -> None:
    """Play all scenes in order, then show what was seen; UnexpectedError where something is not as expected."""
    began = monotonic()
    vaults, connector, administrator = await azure.populate(stage)
    alice = await people.open_account(stage)
    groups = await linking.link_vaults(stage, alice, vaults, connector)
    first = groups[0]
    bob = await people.invite_auditor(stage, alice, first)
    await syncing.first_sync(stage, alice, groups)
    await reading.list_by_filters(stage, alice, groups)
    async with outside.signed_in(stage, vaults, administrator) as clients:
        await reading.show_one(stage, alice, first, clients[first.vault.seeded.name])
        await reading.list_findings(stage, alice, groups)
        await drift.change_and_sync(stage, alice, groups, clients)
        await drift.purge_and_sync(stage, alice, first, clients)
    await unchanged.count_requests(stage, alice, first)
    await access.read_with_api_key(stage, alice, first)
    await access.refuse_others(stage, bob, groups)
    stage.show.scene("What you have seen")
    stage.seen.append(("All of it", f"in {monotonic() - began:.0f} s, every line checked"))
    stage.show.table(("What", "Seen"), stage.seen)
