"""Rules about imports that import-linter cannot say: who may import a part of an external package."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(module: str) -> set[str]:
    """Return the product's modules that import `module` or a part of it, as paths from the root."""
    sources = [ROOT / "function_app.py", *(ROOT / "core").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]
    return {
        str(path.relative_to(ROOT))
        for path in sources
        if any(name == module or name.startswith(f"{module}.") for name in imported(path))
    }


def test_only_the_edge_imports_azure_functions() -> None:
    found = importers("azure.functions")
    assert found
    assert all(path == "function_app.py" or path.startswith("functions/") for path in found)


def test_only_adapters_and_the_composition_root_import_sdks() -> None:
    for sdk in (
        "azure.keyvault",
        "azure.mgmt",
        "azure.identity",
        "azure.storage",
        "azure.data",
        "azure.core",
        "aiohttp",
    ):
        found = importers(sdk)
        assert found
        assert all(path == "core/wiring.py" or path.startswith("core/adapters/") for path in found), sdk


def test_nothing_asks_whether_it_is_local() -> None:
    for folder in ("core", "functions"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text("utf-8").lower()
            assert "localhost" not in text, path
            assert "azurite" not in text, path
            assert "is_local" not in text, path
