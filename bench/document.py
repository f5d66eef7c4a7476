"""The place of the table in a document: between two comments, which stay."""

_BEGIN, _END = "<!-- figures -->", "<!-- end of figures -->"


def with_table(document: str, table: str) -> str:
    """Return `document` with `table` in its place; ValueError if it has no such place."""
    before, begin, rest = document.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the document has no place between {_BEGIN} and {_END}")
    return f"{before}{_BEGIN}\n\n{table}\n\n{_END}{after}"
