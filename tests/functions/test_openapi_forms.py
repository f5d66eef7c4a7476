"""Operations with a file, in the document and on its page."""

import json
from typing import Any, Literal

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ConfigDict, Field

from core.errors import InvalidRequestError
from core.wiring import App
from functions import reference
from functions.codes import CODES, codes_of
from functions.models.base import NoQuery, RequestModel, SecretMaterial, Title
from functions.openapi_document import document
from functions.operations import Answer, Call, Openness, Operation, Upload
from functions.uploads import canonical_form


class Plain(RequestModel):
    """Material as it is."""

    kind: Literal["plain"] = "plain"
    encoding: Literal["base64", "hex"]
    value: SecretMaterial


class Wrapped(RequestModel):
    """Material under a key."""

    kind: Literal["wrapped"]
    wrapping_key: str
    encoding: Literal["base64", "hex"]
    value: SecretMaterial


class Elsewhere(RequestModel):
    """Material that is somewhere already."""

    kind: Literal["elsewhere"]
    key: str


class KeyImport(RequestModel):
    """A key with its material."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "K", "material": {"encoding": "hex", "value": "00"}}]}
    )

    title: Title
    material: Plain


class AnyImport(RequestModel):
    """A key with its material of any kind."""

    title: Title
    material: Plain | Wrapped | Elsewhere = Field(discriminator="kind")


class AnyVersion(RequestModel):
    """A version, with material or without."""

    material: Plain | None = None


class BlobImport(RequestModel):
    """A key transfer blob."""

    title: Title
    blob: SecretMaterial


async def handle(_app: App, _call: Call[RequestModel, NoQuery]) -> Answer:
    raise NotImplementedError


MATERIAL = Upload("material.value", {"material.encoding": "base64"})


def operation(name: str, body: type[RequestModel], upload: Upload | None, *, kept: bool = True) -> Operation:
    return Operation(
        name=name,
        method="POST",
        route=f"v1/{name}",
        summary="-",
        needs=Openness.AUTHENTICATED,
        handler=handle,
        tag="T",
        body=body,
        upload=upload,
        media_type="application/octet-stream",
        attached=True,
        kept=kept,
    )


OPERATIONS = (
    operation("import_key", KeyImport, MATERIAL),
    operation("import_any", AnyImport, MATERIAL),
    operation("import_version", AnyVersion, MATERIAL),
    operation("import_blob", BlobImport, Upload("blob")),
    operation("export", RequestModel, None, kept=False),
)
DOCUMENT = document(OPERATIONS)
SCHEMAS = DOCUMENT["components"]["schemas"]
SCHEMATHESIS = schemathesis.openapi.from_dict(DOCUMENT)


def described(name: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][f"/v1/{name}"]["post"]
    return found


def fits(model: str, value: object) -> bool:
    schema = {"$ref": f"#/components/schemas/{model}", "components": DOCUMENT["components"]}
    return jsonschema_rs.validator_for(schema).is_valid(value)


def test_a_form_stands_beside_json() -> None:
    content = described("import_key")["requestBody"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/KeyImport"}
    form = content["multipart/form-data"]
    assert form["schema"] == {"$ref": "#/components/schemas/KeyImportForm"}
    assert form["encoding"] == {
        "request": {"contentType": "application/json"},
        "file": {"contentType": "application/octet-stream"},
    }
    assert SCHEMAS["KeyImportForm"]["required"] == ["request", "file"]
    assert SCHEMAS["KeyImportForm"]["properties"]["file"]["format"] == "binary"


def test_other_operations_take_json_only() -> None:
    assert list(described("export")["requestBody"]["content"]) == ["application/json"]


def test_the_forms_request_has_no_member_that_the_file_fills() -> None:
    assert fits("KeyImportWithoutFile", {"title": "K"})
    assert fits("KeyImportWithoutFile", {"title": "K", "material": {"kind": "plain"}})
    assert not fits("KeyImportWithoutFile", {"title": "K", "material": {"value": "00"}})
    assert not fits("KeyImportWithoutFile", {"title": "K", "material": {"encoding": "hex"}})
    assert not fits("KeyImportWithoutFile", {"title": "K", "strange": 1})
    assert not fits("KeyImportWithoutFile", {})
    assert fits("BlobImportWithoutFile", {"title": "K"})
    assert not fits("BlobImportWithoutFile", {"title": "K", "blob": "00"})
    assert fits("KeyImport", {"title": "K", "material": {"encoding": "hex", "value": "00"}})


def test_kinds_that_a_file_cannot_fill_fit_no_form() -> None:
    assert fits("AnyImportWithoutFile", {"title": "K", "material": {"kind": "wrapped", "wrapping_key": "k"}})
    assert not fits("AnyImportWithoutFile", {"title": "K", "material": {"kind": "wrapped"}})
    assert not fits("AnyImportWithoutFile", {"title": "K"})
    assert not fits("AnyImportWithoutFile", {"title": "K", "material": {"kind": "elsewhere", "key": "k"}})
    discriminator = SCHEMAS["AnyImportWithoutFile"]["properties"]["material"]["discriminator"]
    assert discriminator["mapping"] == {
        "plain": "#/components/schemas/PlainWithoutFile",
        "wrapped": "#/components/schemas/WrappedWithoutFile",
    }


def test_what_may_be_left_out_in_json_is_an_object_or_nothing_beside_a_file() -> None:
    assert fits("AnyVersion", {"material": None})
    assert fits("AnyVersionWithoutFile", {"material": {}})
    assert fits("AnyVersionWithoutFile", {})
    assert not fits("AnyVersionWithoutFile", {"material": None})
    assert "default" not in SCHEMAS["AnyVersionWithoutFile"]["properties"]["material"]


def test_an_example_loses_what_the_file_fills() -> None:
    assert SCHEMAS["KeyImport"]["examples"] == [{"title": "K", "material": {"encoding": "hex", "value": "00"}}]
    assert SCHEMAS["KeyImportWithoutFile"]["examples"] == [{"title": "K", "material": {}}]


def test_secrets_stay_write_only() -> None:
    value = SCHEMAS["Plain"]["properties"]["value"]
    assert (value["format"], value["writeOnly"]) == ("password", True)
    assert "password" not in json.dumps([SCHEMAS["KeyImportForm"], SCHEMAS["PlainWithoutFile"]])


def test_one_model_leaves_one_set_of_members_to_a_file() -> None:
    other = operation("other", KeyImport, Upload("material.value"))
    with pytest.raises(ValueError, match="different members of Plain"):
        document([*OPERATIONS, other])


def test_codes_follow_from_file_and_keeping() -> None:
    for each in OPERATIONS:
        codes = codes_of(each)
        assert ("upload_malformed" in codes) == (each.upload is not None)
        assert ("idempotency_not_offered" in codes) == (not each.kept)
        assert ("idempotency_key_reused" in codes) == each.kept
        assert set(codes) <= CODES.keys()


def test_an_answer_that_is_not_kept_takes_no_idempotency_key() -> None:
    for name, offered in (("import_key", True), ("export", False)):
        names = {parameter["name"] for parameter in described(name)["parameters"]}
        headers = described(name)["responses"]["200"]["headers"]
        assert ("Idempotency-Key" in names, "Idempotency-Replayed" in headers) == (offered, offered)


def test_a_download_has_a_name() -> None:
    answer = described("export")["responses"]["200"]
    assert list(answer["content"]) == ["application/octet-stream"]
    assert "Content-Disposition" in answer["headers"]


def test_schemathesis_can_use_it() -> None:
    SCHEMATHESIS.validate()
    for name in ("import_key", "import_any", "import_blob"):
        bodies = list(SCHEMATHESIS[f"/v1/{name}"]["POST"].body)
        assert {body.media_type for body in bodies} == {"application/json", "multipart/form-data"}


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_forms_that_schemathesis_makes_are_read(data: st.DataObject) -> None:
    case = data.draw(SCHEMATHESIS["/v1/import_key"]["POST"].as_strategy())
    assume(case.media_type == "multipart/form-data")
    sent = {name: case.as_transport_kwargs(base_url="http://app")[name] for name in ("method", "url", "files")}
    request = requests.Request(**sent).prepare()
    assert isinstance(request.body, bytes)
    content_type = str(request.headers["content-type"])
    try:
        body = json.loads(canonical_form(MATERIAL, request.body, content_type, "Bearer eyJ0"))
    except InvalidRequestError as error:
        # A schema cannot say that no text holds a NUL.
        assert error.code == "malformed_json"  # noqa: PT017
    else:
        assert fits("KeyImport", body)


def test_the_page_shows_forms_and_files() -> None:
    html = reference.page(DOCUMENT).data.decode()
    assert 'multipart/form-data <a href="#schema-KeyImportForm">KeyImportForm</a>' in html
    assert 'id="schema-KeyImportForm"' in html
    assert "string binary" in html
    assert "a form whose part <code>file</code> stands for <code>material.value</code>" in html
