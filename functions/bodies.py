"""From bytes to JSON: strictly, with bounds, and without ever repeating the input.

Invariant: what passes is UTF-8 JSON with at most `MAX_DEPTH` levels, unique member names, finite numbers and no NUL;
its canonical form is the same for equal bodies.
"""

import json
import math
from typing import NoReturn

from core.errors import InvalidRequestError
from functions.problems import BodyTooLargeError, UnsupportedMediaTypeError

MAX_BYTES = 1_048_576
MAX_DEPTH = 32
_MAX_DIGITS = 40
_JSON = "application/json"
FORM = "multipart/form-data"
# What a page of another origin can send without a preflight request; refused without content, too, because an
# operation may need none. Some clients call an empty body an octet stream, which no such page can.
# `functions/uploads.py` takes one of them, where the request proves that no such page sent it.
_FORMS = frozenset({"application/x-www-form-urlencoded", FORM, "text/plain"})


def canonical_body(content: bytes, content_type: str | None) -> bytes:
    """Return the canonical JSON of a request's body; an empty body stays empty."""
    if len(content) > MAX_BYTES:
        raise BodyTooLargeError(f"A body has at most {MAX_BYTES} bytes.")
    media_type = media_type_of(content_type)
    if media_type != _JSON and (content or media_type in _FORMS):
        raise UnsupportedMediaTypeError("A body is JSON: Content-Type: application/json.", field="Content-Type")
    return canonical(parsed(content)) if content else b""


def media_type_of(content_type: str | None) -> str:
    """Return the media type in a Content-Type, in lower case and without parameters."""
    return (content_type or "").partition(";")[0].strip().lower()


def canonical(value: object) -> bytes:
    """Return the one form of a JSON value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def parsed(content: bytes) -> object:
    """Return the JSON value that `content` is; InvalidRequestError `malformed_json` if it is none."""
    value = _decoded(content)
    _check(value)
    return value


def _decoded(content: bytes) -> object:
    try:
        return json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError:
        raise _malformed("The body is not UTF-8.") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise _malformed(f"The body is not JSON{place}.") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _malformed("A member name appears twice in one object.")
    return members


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise _malformed("A number has too many digits.")
    return int(digits)


def _refuse_constant(_name: str) -> NoReturn:
    raise _malformed("A number is not finite.")


def _check(root: object) -> None:
    pending = [(root, 1)]
    while pending:
        value, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise _too_deep()
        match value:
            case dict():
                pending += [(part, depth + 1) for pair in value.items() for part in pair]
            case list():
                pending += [(part, depth + 1) for part in value]
            case str():
                _check_text(value)
            case float() if not math.isfinite(value):
                raise _malformed("A number is too large.")


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise _malformed("A text holds a NUL character.")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise _malformed("A text holds half a surrogate pair.")


def _too_deep() -> InvalidRequestError:
    return _malformed(f"The body is nested more than {MAX_DEPTH} levels deep.")


def _malformed(detail: str) -> InvalidRequestError:
    return InvalidRequestError(detail, code="malformed_json")
