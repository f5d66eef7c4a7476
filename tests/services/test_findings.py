"""Findings: pages and filters, and who raises and clears them by the clock."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.accounts import Account
from core.domain.exchange_keys import wanted
from core.domain.keys import KeyVersion, Presence, Validity
from core.errors import KeystewardError, VaultDeniedError, VaultOutcomeUnknownError, VaultUnavailableError
from core.services import findings as findings_module
from core.services.attribute_actions import ActionRequest
from core.services.expiring_keys import ExpiringKeys
from core.services.findings import (
    ADVICE,
    SEVERITIES,
    Finding,
    FindingCode,
    FindingFilter,
    Findings,
    Severity,
    Subject,
)
from core.services.opened_keys import KeyRef
from tests.builders.keys import ACCOUNT, ALICE, CREATED, GROUP, NOW, a_version
from tests.builders.new_keys import PREMIUM, RSA, SOURCES, KeyStage, hardware
from tests.builders.syncs import SyncStage
from tests.fakes.clock import SteppedClock
from tests.fakes.storage import MemoryCollection, MemoryIndex
from tests.fakes.vault import FakeVault

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)

type About = tuple[FindingCode, Subject]


# --- pages ---------------------------------------------------------------------------------------------------------


def test_every_code_has_a_severity_and_advice() -> None:
    assert set(SEVERITIES) == set(ADVICE) == set(FindingCode)
    assert all(advice.endswith(".") for advice in ADVICE.values())


groups = st.sampled_from(["grp_a", "grp_b", "grp_c"])
subjects = st.builds(Subject, group=groups, key=st.sampled_from(["", "key_1", "key_2", "key_3"]))
filters = st.builds(
    FindingFilter,
    severity=st.none() | st.sampled_from(Severity),
    code=st.none() | st.sampled_from(FindingCode),
    group=st.none() | groups,
    key=st.none() | st.sampled_from(["key_1", "key_2"]),
)


def is_wanted(finding: Finding, wanted: FindingFilter, visible: set[str] | None) -> bool:
    return (
        wanted.severity in {None, finding.severity}
        and wanted.code in {None, finding.code}
        and wanted.group in {None, finding.group}
        and wanted.key in {None, finding.key}
        and (visible is None or finding.group in visible)
    )


async def all_pages(findings: Findings, wanted: FindingFilter, visible: set[str] | None, limit: int) -> list[Finding]:
    found: list[Finding] = []
    after: str | None = None
    while True:
        page, after = await findings.page(ACCOUNT, wanted, visible=visible, after=after, limit=limit)
        assert len(page) <= limit
        found += page
        if after is None:
            return found


@given(
    st.lists(st.tuples(st.sampled_from(FindingCode), subjects), max_size=60),
    filters,
    st.none() | st.sets(groups),
    st.integers(1, 7),
)
async def test_pages_hold_what_is_wanted_worst_first(
    about: list[About], wanted: FindingFilter, visible: set[str] | None, limit: int
) -> None:
    findings = Findings(MemoryIndex(leaf_size=4), SteppedClock(NOW))
    await findings.settle(ACCOUNT, dict.fromkeys(about, "detail"))
    everything = await all_pages(findings, FindingFilter(), None, 100)
    assert len(everything) == len(set(about))
    assert [finding.severity for finding in everything] == sorted(finding.severity for finding in everything)
    found = await all_pages(findings, wanted, visible, limit)
    assert found == [finding for finding in everything if is_wanted(finding, wanted, visible)]


async def test_a_filter_that_few_pass_gives_short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings_module, "_SCANNED", 10)
    monkeypatch.setattr(findings_module, "_CHUNK", 4)
    findings = Findings(MemoryIndex(), SteppedClock(NOW))
    about = {(FindingCode.DRIFT, Subject("grp_a", f"key_{number:03}")): "drift" for number in range(35)}
    await findings.settle(ACCOUNT, about)
    one = FindingFilter(key="key_030")
    page, after = await findings.page(ACCOUNT, one, limit=5)
    assert page == []
    assert after is not None
    assert [finding.key for finding in await all_pages(findings, one, None, 5)] == ["key_030"]


async def test_a_group_is_found_without_the_findings_of_others() -> None:
    index = MemoryIndex()
    findings = Findings(index, SteppedClock(NOW))
    await findings.settle(ACCOUNT, {(FindingCode.DRIFT, Subject("grp_a", f"key_{n}")): "" for n in range(5_000)})
    await findings.settle(ACCOUNT, {(FindingCode.DRIFT, Subject("grp_b", "key_1")): ""})
    page, after = await findings.page(ACCOUNT, FindingFilter(group="grp_b"), limit=5)
    assert ([finding.group for finding in page], after) == (["grp_b"], None)


# --- expiring keys -------------------------------------------------------------------------------------------------


def dated(number: int, expires_on: datetime | None, **changes: object) -> KeyVersion:
    validity = Validity(changes.pop("enabled", True) is True, None, expires_on)  # type: ignore[arg-type]
    return a_version(f"{number:032x}", created=CREATED, validity=validity, **changes)


async def expiring(stage: SyncStage) -> ExpiringKeys:
    accounts: MemoryCollection[Account] = MemoryCollection()
    await accounts.insert("account", ACCOUNT, Account(ACCOUNT, "Contoso", NOW, "dek_1"))  # type: ignore[call-arg]
    return stage.care.expiring_keys(accounts)


async def found(stage: SyncStage, *codes: FindingCode) -> dict[str, FindingCode]:
    """The findings about keys, by Azure name."""
    names = {key.id: key.azure_name for key in (await stage.by_name()).values()}
    page, _ = await stage.findings.page(ACCOUNT, FindingFilter())
    return {names[one.key]: one.code for one in page if one.key in names and (not codes or one.code in codes)}


async def test_keys_within_30_days_of_their_date_and_past_it_are_found() -> None:
    tag = wanted(NOW).tags
    vault = FakeVault(
        live={
            "past": [dated(1, NOW - DAY)],
            "now": [dated(2, NOW)],
            "soon": [dated(3, NOW + 30 * DAY)],
            "later": [dated(4, NOW + 30 * DAY + MINUTE)],
            "never": [dated(5, None)],
            "disabled": [dated(6, NOW - DAY, enabled=False)],
            "exchange": [dated(7, NOW + DAY, tags=tag)],
            "deleted": [dated(8, NOW + DAY)],
        }
    )
    stage = SyncStage(vault)
    await stage.set_up()
    await stage.sync()
    stage.clock.move(-MINUTE)
    del vault.live["deleted"]
    await stage.sync()
    stage.clock.move(-MINUTE)
    timer = await expiring(stage)
    codes = (FindingCode.KEY_EXPIRED, FindingCode.KEY_EXPIRING)
    assert await timer.find() == 3
    assert await found(stage, *codes) == {
        "past": FindingCode.KEY_EXPIRED,
        "now": FindingCode.KEY_EXPIRED,
        "soon": FindingCode.KEY_EXPIRING,
    }
    # Time passes, dates are moved, keys go.
    stage.clock.move(31 * DAY)
    vault.live["past"] = [dated(1, NOW + 90 * DAY, updated_on=NOW)]
    del vault.live["now"]
    await stage.sync()
    await timer.find()
    assert await found(stage, *codes) == {"soon": FindingCode.KEY_EXPIRED, "later": FindingCode.KEY_EXPIRED}


async def test_source_keys_expire_too() -> None:
    stage = KeyStage()
    await stage.set_up()
    key = await stage.a_source_key("master", validity=Validity(expires_on=NOW + 10 * DAY))
    timer = await expiring(stage)
    assert await timer.find() == 1
    (finding,) = (await stage.findings.page(ACCOUNT, FindingFilter(code=FindingCode.KEY_EXPIRING)))[0]
    assert (finding.group, finding.key) == (SOURCES, key.id)
    assert "'master'" in finding.detail


async def test_a_tick_costs_what_is_expiring_and_writes_what_is_new() -> None:
    live = {f"key-{n:04}": [dated(n, NOW + (DAY if n < 300 else 400 * DAY))] for n in range(2_000)}
    stage = SyncStage(FakeVault(live=live))
    await stage.set_up()
    await stage.sync()
    timer = await expiring(stage)
    await timer.find()
    read, written = 0, 0
    page, apply = stage.index.page, stage.index.apply

    async def counted_page(*args: object, **kwargs: object) -> object:
        nonlocal read
        answer = await page(*args, **kwargs)  # type: ignore[arg-type]
        read += len(answer.entries)
        return answer

    async def counted_apply(*args: object) -> None:
        nonlocal written
        written += 1
        await apply(*args)  # type: ignore[arg-type]

    stage.index.page = counted_page  # type: ignore[method-assign, assignment]
    stage.index.apply = counted_apply  # type: ignore[method-assign, assignment]
    assert await timer.find() == 300
    assert read <= 2 * 300 + 400
    assert written == 0


# --- drift ---------------------------------------------------------------------------------------------------------


async def drifted_stage() -> tuple[SyncStage, FakeVault]:
    vault = FakeVault(live={"one": [a_version("1" * 32)], "two": [a_version("2" * 32)]})
    stage = SyncStage(vault)
    await stage.set_up()
    await stage.sync()
    vault.live["one"] = [a_version("1" * 32, validity=Validity(enabled=False), updated_on=NOW)]
    await stage.sync()
    return stage, vault


async def test_drift_is_one_notice_a_key_until_somebody_has_looked() -> None:
    stage, vault = await drifted_stage()
    assert await found(stage) == {"one": FindingCode.DRIFT}
    key = (await stage.by_name())["one"]
    assert await _acknowledge(stage, key.id, "planned") is not None
    reviewed = (await stage.by_name())["one"]
    assert (len(reviewed.drift), reviewed.drifted) == (1, False)
    assert reviewed.drift_review is not None
    assert (reviewed.drift_review.by, reviewed.drift_review.note) == (ALICE, "planned")
    assert (reviewed.history[-1].event, reviewed.history[-1].detail) == ("key.drift_acknowledged", "planned")
    assert await found(stage) == {}
    # Again changes nothing; new drift is new.
    await _acknowledge(stage, key.id)
    assert (await stage.by_name())["one"] == reviewed
    vault.live["one"] = [a_version("1" * 32, updated_on=NOW + DAY)]
    await stage.sync()
    assert await found(stage) == {"one": FindingCode.DRIFT}
    again = (await stage.by_name())["one"]
    assert (len(again.drift), again.drifted) == (2, True)


async def test_a_vanished_key_is_a_notice_that_can_be_acknowledged() -> None:
    stage, vault = await drifted_stage()
    del vault.live["two"]
    await stage.sync()
    key = (await stage.by_name())["two"]
    assert key.presence is Presence.PURGED
    assert (await found(stage))["two"] is FindingCode.DRIFT
    await _acknowledge(stage, key.id)
    assert "two" not in await found(stage)


async def test_drift_that_an_action_finds_before_a_sync_does_is_a_notice_too() -> None:
    stage, vault = await drifted_stage()
    vault.live["two"] = [a_version("2" * 32, tags=(("a", "b"),), updated_on=NOW)]
    key = (await stage.by_name())["two"]
    stored = await stage.made.records.get(ACCOUNT, GROUP, key.id)
    await stage.acting.opened.refresh.refresh(vault, await stage.group(), stored, "int_1")
    assert (await found(stage))["two"] is FindingCode.DRIFT


async def test_an_acknowledgement_that_was_cut_off_is_made_good_by_the_next() -> None:
    stage, _ = await drifted_stage()
    key = (await stage.by_name())["one"]
    settle, left = stage.made.records._findings.settle, [VaultUnavailableError("away")]

    async def fail_once(*args: object) -> None:
        if left:
            raise left.pop()
        await settle(*args)  # type: ignore[arg-type]

    stage.made.records._findings.settle = fail_once  # type: ignore[method-assign, assignment]
    with pytest.raises(VaultUnavailableError):
        await _acknowledge(stage, key.id)
    assert await found(stage) == {"one": FindingCode.DRIFT}
    await _acknowledge(stage, key.id)
    assert await found(stage) == {}
    assert [entry.event for entry in (await stage.by_name())["one"].history].count("key.drift_acknowledged") == 1


async def _acknowledge(stage: SyncStage, key: str, note: str = "", if_match: str | None = None) -> object:
    asked = ActionRequest("int_1", ALICE, if_match)
    return await stage.care.drift_reviews.acknowledge(KeyRef(ACCOUNT, GROUP, key), note, asked)


# --- escrow that a sync cannot make --------------------------------------------------------------------------------


async def test_a_key_that_a_sync_cannot_escrow_for_a_day_is_found() -> None:
    vault = FakeVault(live={"one": [a_version("1" * 32)]})
    stage = SyncStage(vault)
    await stage.set_up()
    await stage.sync()
    denied: Sequence[str] = ("list_versions",)

    def deny(operation: str, name: str) -> None:
        if operation in denied:
            raise VaultDeniedError("denied")

    vault.before = deny
    key = (await stage.by_name())["one"]
    late = a_version("2" * 32, created=NOW)
    await stage.made.records.amend(
        ACCOUNT, GROUP, key.id, lambda present: replace(present, versions=(*present.versions, late))
    )
    vault.live["one"].append(late)
    await stage.sync()
    assert FindingCode.ESCROW_STALE not in (await found(stage)).values()
    stage.clock.move(2 * DAY)
    await stage.sync()
    assert await found(stage) == {"one": FindingCode.ESCROW_STALE}
    denied = ()
    await stage.sync()
    assert await found(stage) == {}


# --- what is unfinished ----------------------------------------------------------------------------------------------


async def test_a_new_key_of_which_nothing_is_known_for_an_hour_is_found_until_it_is() -> None:
    stage = KeyStage()
    await stage.set_up()

    def lose(operation: str, name: str) -> None:
        if operation == "create":
            stage.vault.before = lambda *_: _raise(VaultUnavailableError("away"))
            raise VaultOutcomeUnknownError("lost")

    stage.vault.after = lose
    new = stage.key("int_lost", name="Lost", azure_name="lost")
    with pytest.raises(VaultUnavailableError):
        await stage.made.new_keys.generate(new, RSA)
    stage.vault.after = stage.vault.before = lambda operation, name: None
    stage.vaults.error = VaultDeniedError("denied")
    for minutes, expected in ((10, set[FindingCode]()), (60, {FindingCode.NEW_KEY_UNFINISHED})):
        stage.clock.move(timedelta(minutes=minutes))
        assert await stage.made.placements.reconcile() == 0
        page, _ = await stage.findings.page(ACCOUNT, FindingFilter(group=GROUP))
        assert {finding.code for finding in page} == expected
    assert page[0].key is None
    stage.vaults.error = None
    assert await stage.made.placements.reconcile() == 1
    assert (await stage.findings.page(ACCOUNT, FindingFilter()))[0] == []


async def test_a_key_exchange_key_that_cannot_be_retired_is_found_until_it_is() -> None:
    stage = KeyStage()
    await stage.set_up()
    material = await stage.a_source_key()
    key = await stage.material_of(material)
    await stage.made.new_keys.bring(stage.key("int_2", PREMIUM, name="copy", **hardware()), key)
    stage.clock.move(40 * DAY)
    stage.vaults.error = VaultDeniedError("denied")
    assert await stage.made.exchange_keys.retire_due() == 0
    (finding,) = (await stage.findings.page(ACCOUNT, FindingFilter(code=FindingCode.EXCHANGE_KEY_NOT_RETIRED)))[0]
    (exchange_key,) = await stage.made.exchange_keys.list(ACCOUNT, PREMIUM)
    assert (finding.group, finding.key) == (PREMIUM, exchange_key.key)
    stage.vaults.error = None
    assert await stage.made.exchange_keys.retire_due() == 1
    assert (await stage.findings.page(ACCOUNT, FindingFilter(code=FindingCode.EXCHANGE_KEY_NOT_RETIRED)))[0] == []


def _raise(error: KeystewardError) -> None:
    raise error
