"""The words that clients and people meet are documented, all and only they: settings, permissions, causes, states."""

import ast
import re

import pytest

from core.adapters.azure.failures import DETAILS
from core.adapters.storage import CONTAINERS, JOB_QUEUE, TABLES
from core.domain.accounts import AccountRole, GroupRole
from core.domain.connections import ConnectionCause
from core.domain.drift import DriftKind
from core.domain.jobs import JobStatus
from core.domain.keys import KeyState
from core.domain.permissions import TABLE, Effect, Permission, Rule
from core.services.findings import SEVERITIES, FindingCode
from core.settings import Settings, SettingsError
from functions.api import OPERATIONS
from tests.docs.pages import DOCS, ROOT, rows, section, words

OWN_SETTINGS = rows(section(DOCS / "settings.md", "## Read by Keysteward"))
PERMISSIONS = {words(cells[0])[0]: cells for cells in rows((DOCS / "permissions.md").read_text("utf-8"))}


def first_words(text: str) -> list[str]:
    return [word for cells in rows(text) for word in words(cells[0])]


def settings_in_code() -> set[str]:
    tree = ast.parse((ROOT / "core" / "settings.py").read_text("utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if re.fullmatch(r"[A-Z][A-Za-z]*_[A-Za-z_]+", text)}


def test_settings() -> None:
    documented = [words(cells[0])[0] for cells in OWN_SETTINGS]
    assert len(documented) == len(set(documented))
    assert set(documented) == settings_in_code()


def test_required_settings_are_required_and_others_are_not() -> None:
    value = {"KEYSTEWARD_CLOUD": "public"}
    required = {words(cells[0])[0]: value.get(words(cells[0])[0], "x") for cells in OWN_SETTINGS if cells[1] == "yes"}
    Settings.read(required)
    for name in required:
        with pytest.raises(SettingsError, match=name):
            Settings.read({key: text for key, text in required.items() if key != name})


def test_deployment_names_every_required_setting() -> None:
    named = set(first_words(section(ROOT / "infra" / "README.md", "## Settings")))
    assert {words(cells[0])[0] for cells in OWN_SETTINGS if cells[1] == "yes"} <= named


def test_permissions_are_those_of_the_table() -> None:
    assert list(PERMISSIONS) == [rule.permission for rule in TABLE]


@pytest.mark.parametrize("rule", TABLE, ids=lambda rule: rule.permission)
def test_a_permission_is_documented_as_it_is(rule: Rule) -> None:
    _, effect, meaning, account_roles, group_roles, _ = PERMISSIONS[rule.permission]
    assert effect == rule.effect
    assert meaning == rule.meaning
    assert _roles(account_roles) == {AccountRole(role) for role in rule.account_roles}
    if rule.effect is Effect.DESTROY:
        assert group_roles == "one by one"
    else:
        assert _roles(group_roles) == {GroupRole(role) for role in rule.group_roles}


def test_operations_stand_with_the_permission_that_they_need() -> None:
    text = (DOCS / "permissions.md").read_text("utf-8")
    known = {operation.name for operation in OPERATIONS}
    assert {name for cells in PERMISSIONS.values() for name in words(cells[5])} <= known
    for operation in OPERATIONS:
        place = PERMISSIONS[operation.needs][5] if operation.needs in PERMISSIONS else text
        assert f"`{operation.name}`" in place, operation.name


def test_permissions_without_an_operation_are_those_that_nothing_asks_for() -> None:
    files = [*(ROOT / "functions").rglob("*.py"), *(ROOT / "core" / "services").rglob("*.py")]
    sources = "".join(file.read_text("utf-8") for file in files)
    asked = {Permission[name].value for name in re.findall(r"Permission\.([A-Z_]+)\b", sources)}
    assert {name for name, cells in PERMISSIONS.items() if not words(cells[5])} == set(PERMISSIONS) - asked


def test_findings() -> None:
    found = {words(cells[0])[0]: cells[1] for cells in rows((DOCS / "findings.md").read_text("utf-8"))}
    assert found == {code.value: SEVERITIES[code].partition("-")[2] for code in FindingCode}


def test_causes_with_the_words_that_a_report_uses() -> None:
    found = {words(cells[0])[0]: cells[1] for cells in rows(section(DOCS / "connections.md", "## Causes"))}
    assert found == {cause.value: DETAILS[cause] for cause in ConnectionCause}
    assert f"[{len(found)} causes]" in (ROOT / "README.md").read_text("utf-8")


def test_job_statuses() -> None:
    assert first_words(section(DOCS / "sync.md", "## Jobs")) == [status.value for status in JobStatus]


def test_kinds_of_drift() -> None:
    assert set(first_words(section(DOCS / "sync.md", "## Drift"))) == {kind.value for kind in DriftKind}


def test_states_of_keys() -> None:
    text = (DOCS / "glossary.md").read_text("utf-8")
    state = next(cells[1] for cells in rows(text) if cells[0] == "state")
    assert words(state) == [one.value for one in KeyState]


def test_places_in_storage() -> None:
    kinds: dict[str, set[str]] = {"table": set(), "container": set(), "queue": set()}
    for cells in rows(section(DOCS / "architecture.md", "## Storage")):
        if cells[0].partition(" ")[0] in kinds:
            kinds[cells[0].partition(" ")[0]].update(words(cells[0]))
    assert kinds == {"table": set(TABLES), "container": set(CONTAINERS), "queue": {JOB_QUEUE}}
    deployment = words(section(ROOT / "infra" / "README.md", "## Places in storage"))
    assert {*TABLES, *CONTAINERS, JOB_QUEUE} <= set(deployment)


def test_timers_and_queue_functions() -> None:
    trees = [ast.parse((ROOT / "functions" / name).read_text("utf-8")) for name in ("timers.py", "queues.py")]
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]
    named = first_words(section(DOCS / "architecture.md", "## Timers and queue"))
    assert sorted(named) == sorted(function.name for function in functions)


def _roles(cell: str) -> set[str]:
    return set() if cell == "-" else set(cell.split(", "))
