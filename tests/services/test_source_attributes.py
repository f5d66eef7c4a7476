"""Attributes of source keys: no vault to ask, so each change is one write, and what it says is the whole truth."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.domain.key_kinds import KeyFamily, KeyKind
from core.domain.keys import KeyState, Validity
from core.domain.source_keys import SourceKey, require_use
from core.errors import ConflictError, InvalidRequestError, KeystewardError, NotFoundError, StaleWriteError
from core.ports import Stored
from core.services.opened_keys import KeyRef
from core.services.source_attributes import SourceChanges
from tests.builders.keys import ACCOUNT, ALICE, NOW
from tests.builders.life import BOB, REASON, asked
from tests.builders.lists import check_lists
from tests.builders.new_keys import AES, EC, SOURCES, KeyStage
from tests.fakes.fuse import CrashError, Fuse, put_fuse, restart

SOON = NOW + timedelta(days=30)
STORES = ("source_rows", "index", "name_rows", "material_rows")


async def a_stage(count: int = 3, kind: KeyKind = EC) -> KeyStage:
    """Return a stage with a source key of so many versions."""
    stage = KeyStage()
    await stage.set_up()
    key = await stage.a_source_key(kind=kind)
    for _ in range(count - 1):
        stored = await stage.made.source_keys.get(ACCOUNT, SOURCES, key.id)
        more = replace(stored.value.current, number=len(stored.value.versions) + 1, created_on=stage.clock.now())
        changed = replace(stored.value, versions=(*stored.value.versions, more))
        await stage.source_rows.replace(SOURCES, key.id, changed, stored.etag)
        await stage.made.source_records.relist(changed)
    return stage


async def stored(stage: KeyStage) -> Stored[SourceKey]:
    (key,) = await stage.source_keys()
    return await stage.made.source_keys.get(ACCOUNT, SOURCES, key.id)


async def ref(stage: KeyStage) -> KeyRef:
    return KeyRef(ACCOUNT, SOURCES, (await stored(stage)).value.id)


def enabled(key: SourceKey) -> list[bool]:
    return [version.validity.enabled for version in key.versions]


def left(key: SourceKey) -> tuple[str, ...]:
    return key.deactivation.versions if key.deactivation else ()


async def test_an_update_changes_what_it_names() -> None:
    stage = await a_stage()
    acts, key = stage.acting.source_attributes, await ref(stage)
    changes = SourceChanges(
        not_before=NOW, expires_on=SOON, permissions=("sign", "export", "sign"), tags=(("b", "2"), ("a", "1"))
    )
    changed = (await acts.update(key, None, changes, asked(by=BOB))).value
    assert [version.validity.expires_on for version in changed.versions] == [None, None, SOON]
    assert (changed.permissions, changed.tags) == (("sign", "export"), (("a", "1"), ("b", "2")))
    assert (changed.history[-1].event, changed.history[-1].actor, changed.history[-1].detail) == (
        "key.updated", BOB, "3",
    )  # fmt: skip
    dated = (await acts.update(key, 1, SourceChanges(expires_on=SOON), asked("int_2"))).value
    assert dated.versions[0].validity == Validity(True, None, SOON)
    undated = (await acts.update(key, None, SourceChanges(not_before=None, expires_on=None), asked("int_3"))).value
    assert (undated.current.validity, undated.tags) == (Validity(), changed.tags)
    await check_lists(stage, (SOURCES,))


@pytest.mark.parametrize(
    ("number", "changes", "error", "code"),
    [
        (4, SourceChanges(), NotFoundError, "key_version_not_found"),
        (None, SourceChanges(not_before=SOON, expires_on=SOON), InvalidRequestError, "dates_invalid"),
        (None, SourceChanges(tags=(("", "x"),)), InvalidRequestError, "tags_invalid"),
        (None, SourceChanges(permissions=("wrap",)), KeystewardError, "key_not_allowed"),
    ],
)
async def test_what_is_wrong_changes_nothing(
    number: int | None, changes: SourceChanges, error: type[KeystewardError], code: str
) -> None:
    stage = await a_stage()
    before = await stored(stage)
    with pytest.raises(error) as caught:
        await stage.acting.source_attributes.update(await ref(stage), number, changes, asked())
    assert caught.value.code == code
    assert await stored(stage) == before


async def test_a_stale_etag_is_refused() -> None:
    stage = await a_stage()
    acts, key, fresh = stage.acting.source_attributes, await ref(stage), (await stored(stage)).etag
    for action in (
        acts.update(key, None, SourceChanges(tags=()), asked(if_match="stale")),
        acts.deactivate(key, None, REASON, asked(if_match="stale")),
        acts.activate(key, None, "", asked(if_match="stale")),
    ):
        with pytest.raises(StaleWriteError):
            await action
    assert (await acts.deactivate(key, None, REASON, asked(if_match=fresh))).etag != fresh


async def test_a_key_is_deactivated_with_all_versions_and_activated_as_it_was() -> None:
    stage = await a_stage()
    acts, key = stage.acting.source_attributes, await ref(stage)
    assert left((await acts.deactivate(key, 1, "old", asked("int_1"))).value) == ("1",)
    off = (await acts.deactivate(key, None, REASON, asked("int_2"))).value
    assert (enabled(off), left(off), off.state(NOW)) == ([False] * 3, ("1", "2", "3"), KeyState.DEACTIVATED)
    one = (await acts.activate(key, 2, "", asked("int_3"))).value
    assert (enabled(one), left(one)) == ([False, True, False], ("1", "3"))
    on = (await acts.activate(key, None, "", asked("int_4", by=BOB))).value
    assert (enabled(on), on.deactivation, on.history[-1].actor) == ([True] * 3, None, BOB)
    assert [entry.event for entry in on.history][-4:] == [
        "key.deactivated", "key.deactivated", "key.activated", "key.activated",
    ]  # fmt: skip
    await check_lists(stage, (SOURCES,))


async def test_a_deactivated_source_key_is_of_no_use() -> None:
    stage = await a_stage(1)
    (key,) = await stage.source_keys()
    off = (await stage.acting.source_attributes.deactivate(await ref(stage), None, REASON, asked())).value
    for permission in key.permissions:
        with pytest.raises(ConflictError) as caught:
            require_use(off, off.current, permission, NOW)
        assert caught.value.code == "key_not_active"


async def test_what_is_so_already_is_refused() -> None:
    stage = await a_stage()
    acts, key = stage.acting.source_attributes, await ref(stage)
    for number, code in ((None, "key_not_disabled"), (2, "key_not_disabled"), (9, "key_version_not_found")):
        with pytest.raises(KeystewardError) as caught:
            await acts.activate(key, number, "", asked())
        assert caught.value.code == code
    await acts.deactivate(key, None, REASON, asked("int_1"))
    for number in (None, 2):
        with pytest.raises(ConflictError) as caught:
            await acts.deactivate(key, number, REASON, asked("int_2"))
        assert caught.value.code == "key_already_disabled"


async def test_an_expired_key_is_told_from_a_disabled_one() -> None:
    stage = await a_stage(1)
    acts, key = stage.acting.source_attributes, await ref(stage)
    await acts.update(key, None, SourceChanges(expires_on=NOW - timedelta(days=1)), asked("int_1"))
    with pytest.raises(ConflictError) as caught:
        await acts.activate(key, None, "", asked("int_2"))
    assert caught.value.code == "key_expired"


@pytest.mark.parametrize("reason", ["", " ", "x" * 501, "a\tb"])
async def test_a_reason_is_one_line_of_text(reason: str) -> None:
    stage = await a_stage(1)
    with pytest.raises(InvalidRequestError) as caught:
        await stage.acting.source_attributes.deactivate(await ref(stage), None, reason, asked())
    assert caught.value.code == "reason_invalid"


async def test_a_symmetric_key_has_its_own_permissions() -> None:
    stage = await a_stage(1, AES)
    assert AES.family is KeyFamily.AES
    acts = stage.acting.source_attributes
    changed = (await acts.update(await ref(stage), None, SourceChanges(permissions=("wrap",)), asked())).value
    assert changed.permissions == ("wrap",)


async def deactivate(stage: KeyStage) -> Stored[SourceKey]:
    return await stage.acting.source_attributes.deactivate(await ref(stage), None, REASON, asked())


async def test_a_request_that_comes_again_is_done_once() -> None:
    stage = await a_stage()
    once = await deactivate(stage)
    assert await deactivate(stage) == once
    etag = once.etag
    again = await stage.acting.source_attributes.deactivate(await ref(stage), None, REASON, asked(if_match="older"))
    assert again.etag == etag


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("repeated", [False, True])
async def test_a_crash_at_any_call_leaves_all_or_nothing(after: bool, repeated: bool) -> None:
    blew, at = True, 0
    while blew:
        at += 1
        stage = await a_stage()
        fuse = Fuse(at, after=after)
        kept = put_fuse(stage, fuse, STORES)
        try:
            await deactivate(stage)
        except CrashError:
            assert fuse.blew
        restart(stage, kept)
        blew = fuse.blew
        if repeated:
            await deactivate(stage)
        stage.clock.move(timedelta(minutes=5))
        await stage.made.source_records.reconcile()
        key = (await stored(stage)).value
        events = [entry.event for entry in key.history].count("key.deactivated")
        assert enabled(key) in ([True] * 3, [False] * 3), at
        assert events == (0 if any(enabled(key)) else 1), at
        if repeated or not blew:
            assert not any(enabled(key)), at
        await check_lists(stage, (SOURCES,))
        assert [entry.actor for entry in key.history] == [ALICE] * len(key.history)
    assert at > 5
