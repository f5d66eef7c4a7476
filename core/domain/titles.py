"""Titles that people give to accounts and applications."""

from core.errors import InvalidRequestError

TITLE_LIMIT = 128


def checked_title(text: str, field: str = "title") -> str:
    """Return `text` without surrounding space; InvalidRequestError `title_invalid` where it is no title."""
    title = text.strip()
    if not title or len(title) > TITLE_LIMIT or not title.isprintable():
        raise InvalidRequestError(
            f"A title has 1 to {TITLE_LIMIT} printable characters.", code="title_invalid", field=field
        )
    return title
