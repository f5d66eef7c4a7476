"""Answers as bytes and headers: files to save, and what is kept of an answer."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.wiring import App
from functions.answers import Rendered, render
from functions.models.base import NoQuery
from functions.operations import Answer, Call, Content, Openness, Operation
from tests.builders.http import Api, Premises
from tests.builders.people import ROOT

BLOB = b"\x00the key transfer blob\xff"
SAFE = frozenset(string.ascii_letters + string.digits + "._-")


def disposition(filename: str) -> str:
    content = Content(BLOB, "application/octet-stream", filename=filename)
    return render(Answer(content), 200).headers["Content-Disposition"]


@pytest.mark.parametrize(
    ("filename", "shown"),
    [
        ("payments.byok", "payments.byok"),
        ("my key (1).byok", "my_key__1_.byok"),
        ("schlüssel.json", "schl_ssel.json"),
        ('a"; filename="b.exe', "a___filename__b.exe"),
        ("a.json\r\nSet-Cookie: x=y", "a.json__Set-Cookie__x_y"),
        ("../../etc/passwd", "_.._etc_passwd"),
        (".profile", "profile"),
        ("..", "download"),
        ("", "download"),
        ("x" * 200 + ".byok", "x" * 123 + ".byok"),
    ],
)
def test_a_files_name_is_made_safe(filename: str, shown: str) -> None:
    assert disposition(filename) == f'attachment; filename="{shown}"'


@given(st.text(max_size=300))
def test_no_name_leaves_its_quotes(filename: str) -> None:
    name = disposition(filename).removeprefix('attachment; filename="').removesuffix('"')
    assert 0 < len(name) <= 128
    assert set(name) <= SAFE
    assert name[0] != "."


def test_content_without_a_name_is_no_attachment() -> None:
    assert "Content-Disposition" not in render(Answer(Content(b"{}", "application/json")), 200).headers


def test_a_file_is_hidden_from_reprs() -> None:
    content = Content(BLOB, "application/octet-stream", filename="k.byok")
    assert "blob" not in repr(Answer(content))
    assert "blob" not in repr(render(Answer(content), 200))


def test_a_repeated_answer_is_the_same_file() -> None:
    first = render(Answer(Content(BLOB, "application/octet-stream", filename="k.byok"), etag="1"), 200)
    again = Rendered.replayed(first.kept())
    assert (again.status, again.body, again.media_type) == (first.status, first.body, first.media_type)
    assert again.headers == {**first.headers, "Idempotency-Replayed": "true"}


@pytest.mark.parametrize("media_type", ["application/octet-stream", "application/json"])
async def test_a_file_goes_through_the_pipeline_as_it_is(media_type: str) -> None:
    async def download(_app: App, _call: Call[None, NoQuery]) -> Answer:
        return Answer(Content(BLOB, media_type, filename="payments.byok"))

    operation = Operation(
        name="download_blob",
        method="GET",
        route="v1/blob",
        summary="-",
        needs=Openness.AUTHENTICATED,
        handler=download,
        tag="T",
        media_type=media_type,
        attached=True,
    )
    response = await Api(Premises().app, [operation]).calling(ROOT).send("GET", "v1/blob")
    assert (response.status, response.content, response.media_type) == (200, BLOB, media_type)
    assert response.headers["Content-Disposition"] == 'attachment; filename="payments.byok"'
    assert response.headers["Content-Security-Policy"] == "default-src 'none'"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
