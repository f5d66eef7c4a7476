"""Reading the Markdown pages of the repository: their tables, anchors, links and code blocks."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = sorted([README, *DOCS.rglob("*.md"), *(ROOT / "infra").rglob("*.md"), *(ROOT / "local").rglob("*.md")])

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def section(page: Path, heading: str) -> str:
    """Return what stands below a heading, up to the next one of its level or above."""
    lines = page.read_text("utf-8").splitlines()
    start = lines.index(heading)
    level = len(heading) - len(heading.lstrip("#"))
    ends = (at for at in range(start + 1, len(lines)) if re.match(rf"#{{1,{level}}} ", lines[at]))
    return "\n".join(lines[start + 1 : next(ends, len(lines))])


def rows(text: str) -> list[list[str]]:
    """Return the cells of all table rows, without headings, rules and anchors."""
    found: list[list[str]] = []
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("|") and not line.startswith("|--") and not following.startswith("|--"):
            plain = re.sub(r'<a id="[^"]*"></a>', "", line)
            found.append([cell.strip() for cell in plain.strip("|").split("|")])
    return found


def words(cell: str) -> list[str]:
    """Return what a cell sets in code type."""
    return re.findall(r"`([^`]+)`", cell)


def code_blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language, without the indentation of a list."""
    blocks = (match for match in _FENCE.finditer(text) if match[2] == language)
    return [re.sub(rf"^{block[1]}", "", block[3], flags=re.MULTILINE) for block in blocks]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """Return what a link may point at: explicit ids, and headings as GitHub makes ids of them."""
    text = prose(page)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)"></a>', text))


def links(page: Path) -> Iterator[str]:
    """Yield the targets of links within the repository."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"[a-z]+:", target):
            yield target
