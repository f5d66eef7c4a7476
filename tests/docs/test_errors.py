"""Every stable code is documented with its status, and no other is."""

import ast
from collections.abc import Iterator

from core.domain.connections import ConnectionCause
from functions.codes import CODES
from functions.problems import status_of
from tests.docs.pages import DOCS, ROOT, anchors, rows, section, words

PAGE = DOCS / "errors.md"
_NAMES = frozenset({"code", "default_code"})


def literals(value: ast.expr | None) -> Iterator[str]:
    """The texts that an expression can be, as far as they are written out."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.IfExp):
        yield from literals(value.body)
        yield from literals(value.orelse)


def codes_in(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Call(func=ast.Name(id="JobError"), args=[first, *_]):
            yield from literals(first)
        case ast.keyword(arg="code"):
            yield from literals(node.value)
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)) if name in _NAMES:
            yield from literals(node.value)


def raised() -> set[str]:
    sources = [path for folder in ("core", "functions") for path in (ROOT / folder).rglob("*.py")]
    return {
        code for path in sources for node in ast.walk(ast.parse(path.read_text("utf-8"))) for code in codes_in(node)
    }


def problems_of_blobs() -> set[str]:
    tree = ast.parse((ROOT / "core" / "domain" / "transfer_blobs.py").read_text("utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "BlobProblem"]
    return {code for call in made for keyword in call.keywords for code in codes_in(keyword)}


def documented() -> dict[str, str]:
    """Return each code with the second cell of its row: the status, or in jobs a meaning."""
    found = [(words(cells[0]), cells[1]) for cells in rows(PAGE.read_text("utf-8"))]
    return {names[0]: second for names, second in found if len(names) == 1}


def test_every_code_that_is_raised_is_documented() -> None:
    found = raised()
    assert {"title_invalid", "vault_throttled", "vault_timeout", "job_poisoned", "backup_refused"} <= found
    assert (found | set(CODES)) - set(documented()) == set()


def test_no_other_code_is_documented() -> None:
    assert set(documented()) - (raised() | set(CODES)) == set()


def test_statuses_are_those_of_the_edge() -> None:
    stated = documented()
    wrong = {name: stated[name] for name, code in CODES.items() if stated[name] != str(status_of(code.family))}
    assert wrong == {}


def test_a_problem_type_leads_to_its_row() -> None:
    assert set(documented()) <= anchors(PAGE)


def test_causes_are_not_errors() -> None:
    both = set(documented()) & {cause.value for cause in ConnectionCause}
    assert both == {"vault_not_found"}


def test_problems_of_transfer_blobs_that_are_no_errors_have_a_table_of_their_own() -> None:
    text = section(PAGE, "## In checks of transfer blobs")
    problems = problems_of_blobs()
    assert {"transfer_blob_length", "key_exchange_key_expired", "transfer_blob_kid"} <= problems
    assert {words(cells[0])[0] for cells in rows(text) if words(cells[0])} == problems - set(CODES)
    assert problems & set(CODES) <= set(words(text))
