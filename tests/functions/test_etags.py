"""ETags survive the way out and back; others match nothing."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequestError, StaleWriteError
from functions import etags


@given(st.text())
def test_a_stored_etag_comes_back(stored: str) -> None:
    stored = stored.encode(errors="replace").decode()
    assert etags.from_wire(etags.to_wire(stored)) == stored
    assert etags.from_wire(f"W/{etags.to_wire(stored)}") == stored


@pytest.mark.parametrize("if_match", ["", "*", "abc", '"a", "b"', '"a', '"é"', "W/", '"a"b"'])
def test_if_match_is_one_entity_tag(if_match: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        etags.from_wire(if_match)
    assert (refused.value.code, refused.value.field) == ("invalid_header", "If-Match")


@pytest.mark.parametrize("if_match", ['"a"', '"not+base64"', '"_w"', '"33a64df551425fcc55e4d42a148795d9f25f89d4="'])
def test_a_foreign_entity_tag_is_stale(if_match: str) -> None:
    with pytest.raises(StaleWriteError):
        etags.from_wire(if_match)


@given(st.text(max_size=50))
def test_no_header_breaks_it(if_match: str) -> None:
    with suppress(InvalidRequestError, StaleWriteError):
        assert etags.from_wire(if_match).isprintable() or if_match.startswith(('"', 'W/"'))
