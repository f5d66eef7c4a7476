"""No link within the repository is dead, and what pages say of files and make targets is there."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, README, ROOT, anchors, links, prose


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


def test_a_dead_link_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('# One head\n<a id="two"></a>[a](#one-head) [b](there.md#two) [c](https://example.org)\n')
    assert list(links(page)) == ["#one-head", "there.md#two"]
    assert anchors(page) == {"one-head", "two"}


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {word for page in PAGES for word in re.findall(r"\bmake ([a-z]+)\b`", prose(page))}
    named |= set(re.findall(r"^make ([a-z]+)", README.read_text("utf-8"), re.MULTILINE))
    assert {"demo", "test", "up"} <= named
    assert named <= targets


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "adr"
    listed = [target for target in links(folder / "README.md") if target.startswith("0")]
    assert listed == sorted(path.name for path in folder.glob("0*.md"))
    assert all(len(path.read_text("utf-8").splitlines()) <= 60 for path in folder.glob("*.md"))


def test_named_source_files_exist() -> None:
    """The table of concepts names files by their folder's first mention in the cell."""
    places = {"domain": "core/domain", "services": "core/services", "adapters": "core/adapters"}
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    cells = [cell for line in page.splitlines() if line.startswith("| ") for cell in line.strip("|").split("|")]
    for cell in cells:
        folder = ROOT
        for name in re.findall(r"`((?:\w+/)*\w+\.py)`", cell):
            parts = Path(name).parts
            if len(parts) > 1:
                folder = ROOT.joinpath(places.get(parts[0], parts[0]), *parts[1:-1])
            assert (folder / parts[-1]).is_file(), name
