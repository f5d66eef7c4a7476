"""The demo from the first scene to the last."""

from time import monotonic

from local.demo import outside
from local.demo.client import Json, Keysteward
from local.demo.outside import Clients
from local.demo.scenes import (
    access,
    azure,
    copying,
    drift,
    exporting,
    generating,
    importing,
    life,
    linking,
    people,
    reading,
    syncing,
    transferring,
    unchanged,
)
from local.demo.stage import Group, Stage


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
        source, copies = await _bring_keys(stage, alice, groups, clients)
        await life.rotate_with_copies(stage, alice, source, copies, clients)
        standard, its_vault = groups[1], clients[groups[1].vault.seeded.name]
        key = await life.delete_and_recover(stage, alice, standard, its_vault)
        await life.purge_and_restore(stage, alice, key, its_vault)
        await life.run_schedule(stage, alice, key, its_vault)
    stage.show.scene("What you have seen")
    stage.seen.append(("All of it", f"in {monotonic() - began:.0f} s, every line checked"))
    stage.show.table(("What", "Seen"), stage.seen)


async def _bring_keys(
    stage: Stage, alice: Keysteward, groups: list[Group], clients: Clients
) -> tuple[copying.SourceKey, list[Json]]:
    """Play the scenes about keys that come into vaults; return a source key and its copies."""
    premium, standard, hsm = groups
    in_premium, in_standard, in_hsm = (clients[group.vault.seeded.name] for group in groups)
    await generating.generate(stage, alice, premium, in_premium)
    await generating.lose_the_answer(stage, alice, premium, in_premium)
    await importing.import_into_standard(stage, alice, standard, in_standard)
    source = await copying.make_source_key(stage, alice)
    copies = await copying.copy_to_all(stage, alice, source, groups, clients)
    await copying.change_a_copy(stage, alice, source, standard, copies[1]["key"], in_standard)
    await transferring.take_a_blob(stage, alice, source, premium, in_premium)
    await transferring.bring_a_blob(stage, alice, premium, in_premium)
    await importing.import_into_hsm(stage, alice, hsm, in_hsm)
    await exporting.export_wrapped(stage, alice, source)
    return source, copies
