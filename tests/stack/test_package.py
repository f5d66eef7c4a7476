"""What .funcignore lets through to a deployment."""

from pathspec import GitIgnoreSpec

from local.stack.stack import ROOT

DEPLOYED = {"host.json", "requirements.txt", "function_app.py", "core", "functions"}


def test_only_the_app_is_deployed() -> None:
    ignored = GitIgnoreSpec.from_lines((ROOT / ".funcignore").read_text().splitlines())
    files = [path.relative_to(ROOT) for path in ROOT.glob("*") if path.is_file()]
    files += [path.relative_to(ROOT) for folder in ("core", "local", "tests") for path in (ROOT / folder).rglob("*.py")]
    kept = {path.parts[0] for path in files if not ignored.match_file(path.as_posix())}
    assert kept <= DEPLOYED
    assert {"host.json", "requirements.txt", "core"} <= kept


def test_compiled_files_are_not_deployed() -> None:
    ignored = GitIgnoreSpec.from_lines((ROOT / ".funcignore").read_text().splitlines())
    assert ignored.match_file("core/__pycache__/errors.cpython-313.pyc")
