"""The reference page: the OpenAPI document as one HTML page without scripts and without anything from elsewhere.

Invariant: everything from the document is escaped, and the page's policy allows its own style sheet only.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from functions.answers import HTML
from functions.operations import Content

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:0 auto;padding:1rem}
h2{border-bottom:1px solid var(--line);margin-top:2.5rem}
code,pre{font:14px/1.4 ui-monospace,monospace}
pre{background:var(--soft);padding:.75rem;overflow:auto}
table{border-collapse:collapse;display:block;overflow-x:auto}
th,td{border:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top}
details{border:1px solid var(--line);margin:.5rem 0;padding:.25rem .75rem}
summary{cursor:pointer}.method{display:inline-block;min-width:4.5rem;font-weight:700}
"""
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-{digest}'"
_CODE = re.compile(r"`([^`]+)`")
_TAG = re.compile(r"<[^>]*>")

type _Json = Mapping[str, Any]  # a JSON object of the document


def page(document: _Json) -> Content:
    """Return the page for an OpenAPI document."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    title = escape(document["info"]["title"])
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    body = "\n".join(_body(document))
    html = f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>'
    return Content(html.encode(), HTML, _POLICY.format(digest=digest))


def _body(document: _Json) -> Iterator[str]:
    yield f"<h1>{escape(document['info']['title'])}</h1>"
    yield from _markdown(document["info"]["description"])
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2>"
        yield from _operations(document, tag["name"])
    yield "<h2>Schemas</h2>"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from _schema(name, schema)


def _operations(document: _Json, tag: str) -> Iterator[str]:
    server = document["servers"][0]["url"]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if tag in operation["tags"]:
                yield from _operation(f"{server}{path}", method, operation)


def _operation(path: str, method: str, operation: _Json) -> Iterator[str]:
    name = escape(operation["operationId"])
    line = f'<span class="method">{method.upper()}</span> <code>{escape(path)}</code> {_text(operation["summary"])}'
    yield f'<details id="{name}"><summary>{line}</summary>'
    yield f"<p><code>{name}</code></p>"
    yield from _markdown(operation["description"])
    yield from _table(("parameter", "in", "required", "what for"), map(_parameter, operation["parameters"]))
    if "requestBody" in operation:
        yield f"<p>Body: {_content(operation['requestBody'])}</p>"
        yield from _markdown(operation["requestBody"].get("description", ""))
    yield from _table(("status", "answer", "codes"), map(_response, operation["responses"].items()))
    yield "</details>"


def _parameter(parameter: _Json) -> tuple[str, ...]:
    schema = parameter["schema"]
    text = _text(parameter.get("description") or schema.get("description", ""))
    required = "yes" if parameter["required"] else "no"
    return f"<code>{escape(parameter['name'])}</code>", parameter["in"], required, f"{text} {_type(schema)}"


def _response(response: tuple[str, _Json]) -> tuple[str, ...]:
    status, answer = response
    codes = ", ".join(f"<code>{escape(code)}</code>" for code in answer.get("x-codes", []))
    headers = ", ".join(escape(name) for name in answer.get("headers", {}))
    return escape(status), f"{_content(answer)} {headers}", codes


def _content(holder: _Json) -> str:
    parts = [f"{escape(media)} {_type(each.get('schema', {}))}" for media, each in holder.get("content", {}).items()]
    return ", ".join(parts) or "nothing"


def _schema(name: str, schema: _Json) -> Iterator[str]:
    yield f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
    yield from _markdown(schema.get("description", ""))
    if "enum" in schema:
        yield f"<p>{_type(schema)}</p>"
    required = schema.get("required", [])
    rows = (
        (f"<code>{escape(field)}</code>", _type(each), "yes" if field in required else "no", _field_text(each))
        for field, each in schema.get("properties", {}).items()
    )
    yield from _table(("field", "type", "required", "what for"), rows)
    yield "</details>"


def _field_text(schema: _Json) -> str:
    default = f" Default: <code>{escape(str(schema['default']))}</code>." if "default" in schema else ""
    return f"{_text(schema.get('description', ''))}{default}"


def _type(schema: _Json) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in values)
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return " | ".join(_type(member) for member in schema[union])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"map of {_type(schema['additionalProperties'])}"
    return escape(" ".join(str(schema[name]) for name in ("type", "format") if name in schema))


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Return a table of cells that are HTML already; nothing for no rows."""
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    if lines:
        yield "<table><tr>" + "".join(f"<th>{title}</th>" for title in titles) + "</tr>"
        yield from (f"<tr>{line}</tr>" for line in lines)
        yield "</table>"


def _markdown(text: str) -> Iterator[str]:
    """Render what descriptions use of Markdown: paragraphs, headings, lists, tables and code."""
    for block in re.split(r"\n{2,}", text.strip()):
        lines = block.splitlines()
        if block.startswith("#"):
            yield f"<h2>{_text(block.lstrip('# '))}</h2>"
        elif block.startswith("|"):
            cells = [tuple(_text(cell.strip()) for cell in line.strip("|").split("|")) for line in lines]
            yield from _table(cells[0], map(_anchored, cells[2:]) if cells[0][0] == "code" else cells[2:])
        elif block.startswith("- "):
            yield "<ul>" + "".join(f"<li>{_text(line.removeprefix('- '))}</li>" for line in lines) + "</ul>"
        elif block:
            yield f"<p>{_text(block)}</p>"


def _anchored(row: tuple[str, ...]) -> tuple[str, ...]:
    """Return a row of the table of codes with the anchor that problems point to."""
    code = _TAG.sub("", row[0])
    return (f'<span id="code-{code}">{row[0]}</span>', *row[1:])


def _text(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))
