"""Dates, operations, tags, deactivation and activation: of which versions, in the vault and in the record."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.drift import DriftKind
from core.domain.keys import Condition, Validity
from core.domain.lifecycle import condition_of
from core.domain.new_keys import VersionChanges
from core.errors import (
    InvalidRequestError,
    KeystewardError,
    NotFoundError,
    PolicyViolationError,
    VaultDeniedError,
    VaultUnavailableError,
)
from core.services.attribute_actions import REASON_LIMIT
from tests.builders.keys import ALICE, NOW
from tests.builders.life import (
    BOB,
    NAME,
    REASON,
    LifeStage,
    activate,
    asked,
    deactivate,
    enabled,
    events,
    fails,
    raised,
    refused,
    update,
    versions,
)

FIRST, SECOND, THIRD = (version.id for version in versions(3))
SOON = NOW + timedelta(days=30)


async def test_an_update_is_in_the_vault_in_the_record_and_in_lists() -> None:
    stage = await LifeStage.of()
    changes = VersionChanges(not_before=NOW, expires_on=SOON, operations=("verify",), tags=(("b", "2"), ("a", "1")))
    key = await stage.acting.attributes.update(await stage.ref(), None, changes, asked())
    assert key.current == stage.vault.live[NAME][-1]
    assert key.current is not None
    assert (key.current.validity, key.current.operations) == (Validity(True, NOW, SOON), ("verify",))
    assert key.current.tags == (("a", "1"), ("b", "2"))
    assert (events(key), key.history[-1].detail) == (["key.updated"], THIRD)
    await stage.check()
    assert (await stage.sync()).progress.counts["unchanged"] == 1


async def test_an_update_of_an_older_version_leaves_the_current_one_alone() -> None:
    stage = await LifeStage.of()
    key = await stage.acting.attributes.update(await stage.ref(), 1, VersionChanges(expires_on=SOON), asked())
    assert [version.validity.expires_on for version in key.versions] == [SOON, None, None]
    assert condition_of(key, SOON) is Condition.ACTIVE
    await stage.check()
    await stage.sync("full")
    assert not (await stage.key()).drift


@pytest.mark.parametrize(
    ("number", "changes", "error", "code"),
    [
        (4, VersionChanges(tags=()), NotFoundError, "key_version_not_found"),
        (0, VersionChanges(tags=()), NotFoundError, "key_version_not_found"),
        (None, VersionChanges(not_before=SOON, expires_on=SOON), InvalidRequestError, "dates_invalid"),
        (None, VersionChanges(tags=tuple((str(n), "") for n in range(16))), InvalidRequestError, "tags_invalid"),
        (None, VersionChanges(tags=(("", "x"),)), InvalidRequestError, "tags_invalid"),
        (None, VersionChanges(tags=(("a", "x" * 257),)), InvalidRequestError, "tags_invalid"),
        (None, VersionChanges(operations=("fly",)), PolicyViolationError, "key_not_allowed"),
    ],
)
async def test_what_is_wrong_with_an_update_is_not_sent(
    number: int | None, changes: VersionChanges, error: type[KeystewardError], code: str
) -> None:
    stage = await LifeStage.of()
    with pytest.raises(error) as caught:
        await stage.acting.attributes.update(await stage.ref(), number, changes, asked())
    assert caught.value.code == code
    assert (stage.changes_sent(), events(await stage.key())) == (0, [])


async def test_a_date_is_compared_with_the_one_that_stays() -> None:
    stage = await LifeStage.of()
    await stage.acting.attributes.update(await stage.ref(), None, VersionChanges(not_before=SOON), asked("int_1"))
    change = stage.acting.attributes.update(await stage.ref(), None, VersionChanges(expires_on=SOON), asked("int_2"))
    assert (await refused(change, "dates_invalid")).field == "expires_on"


async def test_a_key_is_deactivated_with_all_versions_and_activated_as_it_was() -> None:
    stage = await LifeStage.of()
    ref = await stage.ref()
    await stage.acting.attributes.deactivate(ref, 1, "old", asked("int_0"))
    key = await deactivate(stage, "int_1")
    assert not any(enabled(key).values())
    assert not any(version.validity.enabled for version in stage.vault.live[NAME])
    assert key.deactivation is not None
    assert (key.deactivation.reason, key.deactivation.by, key.deactivation.versions) == (
        REASON, ALICE, (FIRST, SECOND, THIRD),
    )  # fmt: skip
    key = await stage.acting.attributes.activate(ref, None, "", asked("int_2", by=BOB))
    assert all(enabled(key).values())
    assert (key.deactivation, key.history[-1].actor, key.history[-1].detail) == (None, BOB, "")
    assert events(key) == ["key.deactivated", "key.deactivated", "key.activated"]
    await stage.check()


async def test_a_version_alone_is_disabled_and_enabled() -> None:
    stage = await LifeStage.of()
    ref, acts = await stage.ref(), stage.acting.attributes
    key = await acts.deactivate(ref, 2, REASON, asked("int_1"))
    assert (enabled(key), condition_of(key, NOW)) == (
        {FIRST: True, SECOND: False, THIRD: True},
        Condition.ACTIVE,
    )
    await refused(acts.deactivate(ref, 2, REASON, asked("int_2")), "key_already_disabled")
    await refused(acts.activate(ref, 1, "", asked("int_2")), "key_not_disabled")
    await refused(acts.deactivate(ref, 7, REASON, asked("int_2")), "key_version_not_found")
    key = await acts.activate(ref, 2, "", asked("int_3"))
    assert (all(enabled(key).values()), key.deactivation) == (True, None)
    key = await acts.deactivate(ref, 3, REASON, asked("int_4"))
    assert condition_of(key, NOW) is Condition.DISABLED
    await stage.check()


async def test_a_key_of_which_somebody_else_disabled_the_current_version_can_be_deactivated_whole() -> None:
    stage = await LifeStage.of()
    newest = stage.vault.live[NAME][-1]
    stage.vault.live[NAME][-1] = replace(newest, validity=Validity(enabled=False), updated_on=stage.clock.now())
    key = await deactivate(stage, "int_1")
    assert not any(enabled(key).values())
    assert [drift.version for drift in key.drift] == [THIRD]
    await refused(deactivate(stage, "int_2"), "key_already_disabled")
    key = await activate(stage, "int_3")
    assert all(enabled(key).values()), "the current version is enabled whoever disabled it"
    await stage.check()


async def test_a_part_that_was_refused_is_said_and_can_be_done_later() -> None:
    stage = await LifeStage.of()

    def refuse(operation: str, name: str) -> None:
        if operation == "update" and stage.vault.calls["update"] == 2:
            raise VaultDeniedError("no permission")

    stage.vault.before = refuse
    with pytest.raises(VaultDeniedError):
        await deactivate(stage, "int_1")
    key = await stage.key()
    assert key.history[-1].event == "key.deactivate_not_done"
    assert key.history[-1].detail.startswith("vault_denied; ")
    done = sum(not on for on in enabled(key).values())
    assert f"{done} of 3 versions" in key.history[-1].detail
    assert 0 < done < 3
    assert key.deactivation is not None
    assert len(key.deactivation.versions) == done
    await stage.check()
    assert not any(enabled(await deactivate(stage, "int_1")).values()), "the same request completes it"
    assert all(enabled(await activate(stage, "int_2")).values())
    await stage.check()
    await stage.sync("full")
    assert not (await stage.key()).drift


async def test_after_an_error_no_further_version_is_asked_for() -> None:
    stage = await LifeStage.of(count=40)
    stage.vault.before = lambda operation, _: raised(VaultUnavailableError("away")) if operation == "update" else None
    with pytest.raises(VaultUnavailableError):
        await deactivate(stage, "int_1")
    assert stage.vault.calls["update"] <= 8


async def test_a_request_that_comes_again_changes_what_it_meant_the_first_time() -> None:
    stage = await LifeStage.of()
    fails(stage, "update", VaultUnavailableError("cut"))
    with pytest.raises(VaultUnavailableError):
        await update(stage, "int_1")
    stage.vault.live[NAME] += versions(1, first=4)
    await stage.sync()
    key = await update(stage, "int_1")
    assert [bool(version.tags) for version in key.versions] == [False, False, True, False]
    assert [drift.kind for drift in key.drift] == [DriftKind.NEW_VERSION]
    await stage.check()


@pytest.mark.parametrize("reason", ["", "  ", "x" * (REASON_LIMIT + 1), "a\nb", "\x00"])
async def test_a_reason_is_one_line_of_text(reason: str) -> None:
    stage = await LifeStage.of()
    deactivation = stage.acting.attributes.deactivate(await stage.ref(), None, reason, asked())
    assert (await refused(deactivation, "reason_invalid")).field == "reason"
