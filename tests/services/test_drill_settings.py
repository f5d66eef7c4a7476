"""When groups are drilled: planned with the group, moved with its settings, refused where nothing could be restored."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.drills import DrillSettings
from core.domain.group_drafts import GroupChanges
from core.domain.groups import Group
from core.errors import ConflictError, InvalidRequestError
from core.ports import Stored
from tests.builders.groups import Registry
from tests.fakes.vault import FACTS

DAY = timedelta(days=1)


@pytest.fixture
async def registry() -> Registry:
    registry = Registry()
    await registry.open()
    return registry


async def linked(registry: Registry, **drill: object) -> Stored[Group]:
    return await registry.azure_group(vault=FACTS.resource_id, drill=DrillSettings(**drill))  # type: ignore[arg-type]


async def due(registry: Registry) -> set[str]:
    page = await registry.index.page("due/drills")
    return {place.partition("|")[0] for place, _ in page.entries}


async def test_a_group_with_a_vault_is_planned(registry: Registry) -> None:
    now = registry.clock.now()
    group = (await linked(registry)).value
    assert group.next_drill_on == now + 7 * DAY
    assert await due(registry) == {f"{now + 7 * DAY:%Y-%m-%dT%H:%M:%SZ}"}


async def test_one_without_a_vault_is_planned_when_it_has_one(registry: Registry) -> None:
    created = await registry.azure_group()
    assert created.value.next_drill_on is None
    selected = await registry.groups.select_vault(registry.account, created.value.id, FACTS.resource_id)
    assert selected.value.next_drill_on is not None


async def test_changed_settings_move_the_next_drill(registry: Registry) -> None:
    group = await linked(registry)
    often = GroupChanges(drill=DrillSettings(every_days=1))
    changed = await registry.groups.update(registry.account, group.value.id, often, group.etag)
    assert changed.value.next_drill_on == group.value.created_on + DAY
    paused = GroupChanges(drill=DrillSettings(paused=True))
    changed = await registry.groups.update(registry.account, group.value.id, paused, changed.etag)
    assert changed.value.next_drill_on is None
    registry.clock.move(30 * DAY)
    assert await registry.drills.schedule_due() == 0, "hints of before start nothing"
    assert await due(registry) == set()


async def test_a_changed_title_moves_nothing(registry: Registry) -> None:
    group = await linked(registry)
    registry.clock.move(DAY)
    changed = await registry.groups.update(registry.account, group.value.id, GroupChanges(title="Other"), group.etag)
    assert changed.value.next_drill_on == group.value.next_drill_on


@pytest.mark.parametrize("drill", [DrillSettings(every_days=0), DrillSettings(sample=0), DrillSettings(restores=99)])
async def test_bounds(registry: Registry, drill: DrillSettings) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await registry.azure_group(drill=drill)
    assert refused.value.code == "group_invalid"
    group = await linked(registry)
    with pytest.raises(InvalidRequestError):
        await registry.groups.update(registry.account, group.value.id, GroupChanges(drill=drill), group.etag)


async def test_a_scratch_group_has_to_do(registry: Registry) -> None:
    group = await linked(registry)
    scratch = await registry.azure_group()
    facts = replace(FACTS, resource_id=FACTS.resource_id + "-scratch", name="scratch", purge_protection=True)
    changes = GroupChanges(drill=DrillSettings(restore_into=scratch.value.id))
    with pytest.raises(ConflictError) as without_vault:
        await registry.groups.update(registry.account, group.value.id, changes, group.etag)
    assert without_vault.value.code == "vault_not_selected"
    row = replace(scratch.value, vault=facts)
    scratch = await registry.rows.replace(registry.account, row.id, row, scratch.etag)
    with pytest.raises(ConflictError) as protected:
        await registry.groups.update(registry.account, group.value.id, changes, group.etag)
    assert protected.value.code == "scratch_purge_protected"
    row = replace(row, vault=replace(facts, purge_protection=False))
    await registry.rows.replace(registry.account, row.id, row, scratch.etag)
    changed = await registry.groups.update(registry.account, group.value.id, changes, group.etag)
    assert changed.value.drill.restore_into == scratch.value.id


async def test_a_source_group_has_nothing_to_restore(registry: Registry) -> None:
    source = await registry.source_group()
    assert source.value.next_drill_on is None
    changes = GroupChanges(drill=DrillSettings(restore_into=source.value.id))
    with pytest.raises(ConflictError) as refused:
        await registry.groups.update(registry.account, source.value.id, changes, source.etag)
    assert refused.value.code == "group_kind"
