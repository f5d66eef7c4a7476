"""Bodies: strict JSON with bounds; refusals never repeat the input."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequestError
from functions.bodies import MAX_BYTES, MAX_DEPTH, canonical_body

JSON = "application/json"


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"nope",
        b'{"a": 1} trailing',
        b"\xff\xfe\x00",
        b'{"a": "\xc3"}',
        b'{"a": 1, "a": 2}',
        b'{"a": "\\u0000"}',
        b'{"\\u0000": 1}',
        b'{"a": "\\ud800"}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5_000 + b"}",
        b'{"a": ' + b"9" * 41 + b"}",
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b"[" * 500_000,
        b'{"a":' * 100_000,
    ],
)
def test_refuses_what_is_not_strict_json(content: bytes) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        canonical_body(content, JSON)
    assert refused.value.code == "malformed_json"


def test_refuses_more_than_the_limit() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        canonical_body(b" " * (MAX_BYTES + 1), JSON)
    assert refused.value.code == "body_too_large"


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/xml"]
)
def test_refuses_what_is_not_declared_as_json(content_type: str | None) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        canonical_body(b"{}", content_type)
    assert refused.value.code == "unsupported_media_type"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8"])
def test_what_a_foreign_page_can_send_is_refused_without_content_too(content_type: str) -> None:
    with pytest.raises(InvalidRequestError):
        canonical_body(b"", content_type)


@pytest.mark.parametrize("content_type", [None, JSON, "application/octet-stream"])
def test_nothing_is_nothing(content_type: str | None) -> None:
    assert canonical_body(b"", content_type) == b""


@pytest.mark.parametrize("content_type", [JSON, "Application/JSON", "application/json; charset=utf-8"])
def test_equal_bodies_have_one_form(content_type: str) -> None:
    one = canonical_body(b'{"b": [1, 2.0, null], "a": "\\u00e9"}', content_type)
    assert one == canonical_body('\ufeff{ "a":"é", "b":[1,2.0,null] }'.encode(), JSON)


@given(st.binary(max_size=300))
def test_any_bytes_are_json_or_refused(content: bytes) -> None:
    with suppress(InvalidRequestError):
        canonical = canonical_body(content, JSON)
        assert canonical == b"" or canonical_body(canonical, JSON) == canonical


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(), parts, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_json_means_the_same_after_it(value: object) -> None:
    content = json.dumps(value).encode()
    try:
        canonical = canonical_body(content, JSON)
    except InvalidRequestError:
        assert b"\\u0000" in content
    else:
        assert json.loads(canonical) == value
