"""Forms with a file: one canonical body comes out, or a refusal that names what is wrong and repeats nothing."""

import asyncio
import base64
import json
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequestError
from core.wiring import App
from functions.bodies import canonical_body
from functions.codes import CODES, codes_of
from functions.models.base import NoQuery, RequestModel, SecretMaterial, Title
from functions.operations import Answer, Call, Openness, Operation, Upload
from functions.problems import status_of
from functions.uploads import MAX_FILE, MAX_FORM, canonical_form
from tests.builders.http import BOUNDARY, FORM, Api, Premises, form, part
from tests.builders.people import ROOT

BEARER = "Bearer eyJ0"
UPLOAD = Upload("material.value", {"material.encoding": "base64"})
REQUEST = part("request", b'{"title": "K"}', "application/json", filename=None)
OCTETS = bytes(range(256))
FILE = part("file", OCTETS, "application/octet-stream")


def merged(*parts: bytes, upload: Upload = UPLOAD, content_type: str = FORM) -> object:
    return json.loads(canonical_form(upload, form(*parts), content_type, BEARER))


def refusal(content: bytes, content_type: str = FORM, authorization: str | None = BEARER) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as refused:
        canonical_form(UPLOAD, content, content_type, authorization)
    return refused.value


def request_of(body: object) -> bytes:
    return part("request", json.dumps(body).encode(), "application/json")


def test_a_form_is_the_body_that_json_would_have_been() -> None:
    body = {"title": "K", "material": {"encoding": "base64", "value": base64.b64encode(OCTETS).decode(), "kind": "x"}}
    request = request_of({"material": {"kind": "x"}, "title": "K"})
    expected = canonical_body(json.dumps(body).encode(), "application/json")
    assert canonical_form(UPLOAD, form(request, FILE), FORM, BEARER) == expected
    assert canonical_form(UPLOAD, form(FILE, request), FORM, BEARER) == expected


def test_a_file_may_stand_for_a_member_at_the_top() -> None:
    assert merged(REQUEST, FILE, upload=Upload("byok")) == {
        "title": "K",
        "byok": base64.b64encode(OCTETS).decode(),
    }


@pytest.mark.parametrize("tail", [b"\n", b"\r", b"\r\n", b"\n\r", b"\r\n\r\n", b"--", b"\r\n--", b"\x00", b" "])
def test_every_octet_of_a_file_counts(tail: bytes) -> None:
    read = merged(REQUEST, part("file", tail + b"key" + tail))
    assert isinstance(read, dict)
    assert base64.b64decode(read["material"]["value"]) == tail + b"key" + tail


@pytest.mark.parametrize(
    "file",
    [
        part("file", OCTETS, filename=None),
        part("file", OCTETS, filename="request"),
        part("file", OCTETS, filename="../../etc/passwd"),
        part("file", OCTETS, filename="schlüssel.pem"),
        part("file", OCTETS, "text/plain; charset=utf-16"),
        b"content-transfer-encoding: Binary\r\nContent-Length: 7\r\n" + part("file", OCTETS),
    ],
)
def test_neither_a_files_name_nor_its_type_matters(file: bytes) -> None:
    assert merged(REQUEST, file) == merged(REQUEST, FILE)


@pytest.mark.parametrize(
    "content_type",
    [
        f'Multipart/Form-Data; boundary="{BOUNDARY}"',
        f"multipart/form-data; charset=utf-8; boundary={BOUNDARY}; x=y",
    ],
)
def test_a_boundary_may_be_quoted(content_type: str) -> None:
    assert merged(REQUEST, FILE, content_type=content_type) == merged(REQUEST, FILE)


def test_nothing_but_line_ends_may_surround_the_parts() -> None:
    surrounded = b"\r\n" + form(REQUEST, FILE) + b"\r\n"
    assert json.loads(canonical_form(UPLOAD, surrounded, FORM, BEARER)) == merged(REQUEST, FILE)


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic YTpi", "BearerX y", "Cookie x"])
def test_a_form_that_a_foreign_page_could_have_sent_is_refused(authorization: str | None) -> None:
    error = refusal(form(REQUEST, FILE), authorization=authorization)
    assert (error.code, error.field) == ("unsupported_media_type", "Authorization")


@pytest.mark.parametrize("authorization", ["Bearer eyJ0", "bearer ks_x"])
def test_tokens_and_api_keys_prove_that_none_did(authorization: str) -> None:
    assert canonical_form(UPLOAD, form(REQUEST, FILE), FORM, authorization)


HEADLESS = part("file", OCTETS).partition(b"\r\n\r\n")[2]
MALFORMED = {
    "nothing": b"",
    "no parts": b"not a form",
    "cut off in a header": form(REQUEST, FILE)[:60],
    "cut off in the request": form(REQUEST, FILE)[:110],
    "cut off in the file": form(REQUEST, FILE)[:300],
    "cut off before the end": form(REQUEST, FILE)[: -len(BOUNDARY) - 6],
    "not closed": form(REQUEST, FILE)[:-4] + b"\r\n",
    "lines that end with LF": form(REQUEST, FILE).replace(b"\r\n", b"\n"),
    "a delimiter after LF": form(REQUEST, FILE).replace(OCTETS + b"\r\n", OCTETS + b"\n"),
    "a delimiter within the file": form(REQUEST, part("file", b"a\n--" + BOUNDARY.encode() + b"--\r\n")),
    "the beginning of one within the file": form(REQUEST, part("file", b"a\r\n--" + BOUNDARY.encode() + b"x\r\n")),
    "a preamble": b"hello\r\n" + form(REQUEST, FILE),
    "an epilogue": form(REQUEST, FILE) + b"hello",
    "request twice": form(REQUEST, REQUEST),
    "file twice": form(REQUEST, FILE, FILE),
    "a file's name that names the part": form(REQUEST, part("file", OCTETS, filename='x"; name="request')),
    "no disposition": form(REQUEST, b"Content-Type: text/plain\r\n\r\n" + HEADLESS),
    "no headers": form(REQUEST, b"\r\n" + HEADLESS),
    "another disposition": form(REQUEST, FILE.replace(b"form-data", b"attachment")),
    "two dispositions": form(REQUEST, b'content-disposition: form-data; name="request"\r\n' + FILE),
    "headers that are not UTF-8": form(REQUEST, b"X: \xff\r\n" + FILE),
    "large headers": form(REQUEST, b"X: " + b"x" * 2_048 + b"\r\n" + FILE),
    "endless headers": form(REQUEST, b"X: y\r\n" * 30_000),
    "a blank line of LF": form(REQUEST, b"X: y\n\n" + FILE),
    "a header that ends with CR": form(REQUEST, b"X: y\r" + FILE),
    "base64 by transfer encoding": form(REQUEST, b"Content-Transfer-Encoding: base64\r\n" + FILE),
    "a form within the form": form(REQUEST, part("file", form(FILE, boundary="b"), "multipart/mixed; boundary=b")),
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_form_that_is_not_well_formed_is_refused(content: bytes) -> None:
    assert refusal(content).code == "upload_malformed"


@pytest.mark.parametrize(
    "parameters",
    ["", "; boundary=", "; boundary=é", '; boundary="a "', "; boundary=" + "x" * 71, '; boundary="a\x00b"', "; x=y"],
)
def test_a_boundary_that_is_none_is_refused(parameters: str) -> None:
    assert refusal(form(REQUEST, FILE), f"multipart/form-data{parameters}").code == "upload_malformed"


@pytest.mark.parametrize(
    ("content", "code", "field"),
    [
        (form(), "missing_field", "request"),
        (form(FILE), "missing_field", "request"),
        (form(REQUEST), "missing_field", "file"),
        (form(REQUEST, part("key", OCTETS)), "unknown_field", None),
        (form(REQUEST, FILE, part("_charset_", b"utf-8")), "unknown_field", None),
        (form(REQUEST, part("File", OCTETS)), "unknown_field", None),
        (form(REQUEST, b"Content-Disposition: form-data\r\n\r\nx"), "unknown_field", None),
        (form(REQUEST, part("file", b"")), "invalid_field", "file"),
        (form(REQUEST, part("file", b"x" * (MAX_FILE + 1))), "body_too_large", "file"),
        (form(REQUEST, part("file", b"x" * MAX_FORM)), "body_too_large", None),
        (form(part("request", b"{}", "text/plain"), FILE), "unsupported_media_type", "request"),
        (form(part("request", b"", "application/json"), FILE), "malformed_json", None),
        (form(part("request", b"{", "application/json"), FILE), "malformed_json", None),
        (form(part("request", b'{"a": 1, "a": 1}', None), FILE), "malformed_json", None),
        (form(part("request", b"\xff", None), FILE), "malformed_json", None),
        (form(request_of(["title"]), FILE), "invalid_field", "request"),
        (form(request_of({"material": {"value": "eA=="}}), FILE), "invalid_field", "material.value"),
        (form(request_of({"material": {"value": None}}), FILE), "invalid_field", "material.value"),
        (form(request_of({"material": {"encoding": "base64"}}), FILE), "invalid_field", "material.encoding"),
        (form(request_of({"material": "eA=="}), FILE), "invalid_field", "material.value"),
        (form(request_of({"material": None}), FILE), "invalid_field", "material.value"),
    ],
)
def test_a_refusal_names_the_part_or_the_member(content: bytes, code: str, field: str | None) -> None:
    error = refusal(content)
    assert (error.code, error.field) == (code, field)


def test_the_largest_file_is_taken() -> None:
    assert merged(REQUEST, part("file", b"x" * MAX_FILE))


def test_no_file_is_ever_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_args: object, **_options: object) -> None:
        raise AssertionError("key material must not touch a disk")

    for name in ("TemporaryFile", "SpooledTemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(f"tempfile.{name}", opened)
    monkeypatch.setattr("builtins.open", opened)
    assert merged(REQUEST, part("file", b"x" * MAX_FILE))


PIECES = st.sampled_from(
    [
        b"--" + BOUNDARY.encode(),
        b"--",
        b"\r\n",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b'Content-Disposition: form-data; name="file"',
        b'Content-Disposition: form-data; name="request"',
        b"Content-Disposition: form-data; name*0*=utf-8''%ff; name*1=le; filename*=x''%",
        b"Content-Type: application/json",
        b"{}",
        b"\x00\xff",
        REQUEST,
        FILE,
        form(REQUEST, FILE),
    ]
)


@given(st.lists(PIECES | st.binary(max_size=8), max_size=14).map(b"".join))
def test_any_octets_are_a_form_or_refused(content: bytes) -> None:
    with suppress(InvalidRequestError):
        assert json.loads(canonical_form(UPLOAD, content, FORM, BEARER))["material"]["encoding"] == "base64"


@given(st.text(max_size=40).map("multipart/form-data; {}".format) | st.text(), st.binary(max_size=60))
def test_any_content_type_is_a_forms_or_refused(content_type: str, content: bytes) -> None:
    with suppress(InvalidRequestError):
        canonical_form(UPLOAD, content, content_type, BEARER)


@given(st.binary(min_size=1, max_size=400))
def test_any_file_comes_out_as_it_was(file: bytes) -> None:
    read = merged(REQUEST, part("file", file))
    assert isinstance(read, dict)
    assert base64.b64decode(read["material"]["value"]) == file


class Material(RequestModel):
    """Key material."""

    encoding: str
    value: SecretMaterial


class KeyImport(RequestModel):
    """A key to import."""

    title: Title
    material: Material


class Imports:
    """An API with one operation that takes a file, and one that takes none."""

    def __init__(self) -> None:
        self.premises = Premises()
        self.calls: list[Call[KeyImport, NoQuery]] = []

        def operation(name: str, upload: Upload | None) -> Operation:
            return Operation(
                name=name,
                method="POST",
                route=f"v1/{name}",
                summary="-",
                needs=Openness.AUTHENTICATED,
                handler=self.handle,
                tag="T",
                body=KeyImport,
                upload=upload,
                status=204,
            )

        self.operations = (operation("import_key", UPLOAD), operation("import_json", None))
        self.api = Api(self.premises.app, self.operations).calling(ROOT)

    async def handle(self, _app: App, call: Call[KeyImport, NoQuery]) -> Answer:
        self.calls.append(call)
        return Answer()


@pytest.fixture
def imports() -> Imports:
    return Imports()


JSON_BODY = {"title": "K", "material": {"encoding": "base64", "value": base64.b64encode(OCTETS).decode()}}
ONE = {"idempotency-key": "4711"}


async def test_the_handler_sees_one_model_either_way(imports: Imports) -> None:
    assert (await imports.api.upload("POST", "v1/import_key", {"title": "K"}, OCTETS)).status == 204
    assert (await imports.api.send("POST", "v1/import_key", JSON_BODY)).status == 204
    one, other = imports.calls
    assert one.body == other.body
    assert base64.b64decode(one.body.material.value.reveal()) == OCTETS


async def test_the_largest_file_fits_the_model(imports: Imports) -> None:
    response = await imports.api.upload("POST", "v1/import_key", {"title": "K"}, b"x" * MAX_FILE)
    assert response.status == 204


async def test_json_and_a_form_are_one_request_under_one_key(imports: Imports) -> None:
    await imports.api.upload("POST", "v1/import_key", {"title": "K"}, OCTETS, headers=ONE)
    again = await imports.api.send("POST", "v1/import_key", JSON_BODY, headers=ONE)
    other = await imports.api.upload("POST", "v1/import_key", {"title": "K"}, OCTETS + b"x", headers=ONE)
    assert (again.headers["Idempotency-Replayed"], len(imports.calls)) == ("true", 1)
    assert other.code == "idempotency_key_reused"


@pytest.mark.parametrize("authorization", [None, "Basic YTpi"])
async def test_a_sign_in_cookie_is_not_enough_for_a_form(imports: Imports, authorization: str | None) -> None:
    headers = {"content-type": FORM, **({"authorization": authorization} if authorization else {})}
    response = await imports.api.send("POST", "v1/import_key", content=form(REQUEST, FILE), headers=headers)
    assert (response.status, response.code) == (415, "unsupported_media_type")
    assert imports.calls == []


async def test_an_operation_that_takes_no_file_takes_no_form(imports: Imports) -> None:
    response = await imports.api.upload("POST", "v1/import_json", {"title": "K"}, OCTETS)
    assert (response.status, response.json["field"]) == (415, "Content-Type")


async def test_other_forms_stay_refused(imports: Imports) -> None:
    headers = {"authorization": BEARER, "content-type": "application/x-www-form-urlencoded"}
    response = await imports.api.send("POST", "v1/import_key", content=b"title=K", headers=headers)
    assert (response.status, response.code) == (415, "unsupported_media_type")


async def test_a_violation_is_the_models_and_names_its_own_member(imports: Imports) -> None:
    response = await imports.api.upload("POST", "v1/import_key", {"title": "", "strange": 1}, OCTETS)
    assert response.status == 400
    assert {each["field"] for each in response.json["violations"]} == {"title", "strange"}
    assert base64.b64encode(OCTETS).decode() not in response.content.decode()


async def test_who_may_not_call_is_told_nothing_about_a_form(imports: Imports) -> None:
    response = await imports.api.calling().upload("POST", "v1/import_key", {}, b"")
    assert response.status == 401


@cache
def hostile() -> Imports:
    """One API for all examples."""
    return Imports()


@given(content=st.lists(PIECES | st.binary(max_size=8), max_size=12).map(b"".join), declared=st.text(max_size=30))
def test_a_hostile_form_is_refused_well(content: bytes, declared: str) -> None:
    for content_type in (FORM, f"multipart/form-data;{declared}"):
        headers = {"authorization": BEARER, "content-type": content_type}
        response = asyncio.run(hostile().api.send("POST", "v1/import_key", content=content, headers=headers))
        assert response.status < 500
        if response.status >= 400:
            assert response.code in codes_of(hostile().operations[0])
            assert status_of(CODES[response.code].family) == response.status
