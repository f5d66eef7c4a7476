"""The schemas of the OpenAPI document: those of the models, of forms with a file, and of a problem."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from core.domain.permissions import TABLE
from functions import problems
from functions.codes import CODES
from functions.operations import Operation, Upload

OCTETS = "application/octet-stream"
_REF = "#/components/schemas/{model}"

type Json = dict[str, Any]  # a JSON object of the document


def schemas_of(operations: list[Operation]) -> Json:
    """Return the schemas of all bodies, forms, queries and answers, and of a problem."""
    models: set[tuple[type[BaseModel], str]] = set()
    for operation in operations:
        models.add((operation.query, "validation"))
        if operation.body is not None:
            models.add((operation.body, "validation"))
        if operation.answer is not None:
            models.add((operation.answer, "serialization"))
    ordered: Any = sorted(models, key=lambda pair: (pair[0].__name__, pair[1]))
    _, definitions = models_json_schema(ordered, ref_template=_REF)
    schemas = {**definitions["$defs"], "Problem": _problem_schema()}
    for operation in operations:
        if operation.body is not None and operation.upload is not None:
            _add_form(schemas, operation.body.__name__, operation.upload)
    return schemas


def ref(model: str) -> Json:
    """Return a reference to the schema of `model`."""
    return {"$ref": _REF.format(model=model)}


def form_of(model: str) -> str:
    """Return the name of the form that stands for `model`."""
    return f"{model}Form"


def _add_form(schemas: Json, model: str, upload: Upload) -> None:
    """Add the schema of the form that stands for `model`, and that of its part `request`."""
    paths = [path.split(".") for path in (upload.member, *upload.alongside)]
    properties = {
        "request": {**_without(schemas, model, paths), "description": f"What JSON has beside `{upload.member}`."},
        "file": {
            "type": "string",
            "format": "binary",
            "contentMediaType": OCTETS,
            "minLength": 1,
            "description": f"What `{upload.member}` says in JSON, as it is, in at most 64 KiB.",
        },
    }
    schemas[form_of(model)] = {
        "title": form_of(model),
        "description": f"`{model}` with a file.",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _without(schemas: Json, model: str, paths: list[list[str]]) -> Json:
    """Add the schema of `model` without the members at `paths`; return the reference to it."""
    whole, name = schemas[model], f"{model}WithoutFile"
    properties, required = {}, []
    for member, schema in whole["properties"].items():
        below = [path[1:] for path in paths if path[0] == member]
        if [] in below:
            continue
        properties[member] = _property_without(schemas, schema, below) if below else schema
        if member in whole.get("required", []) and not (below and _may_be_empty(schemas, properties[member])):
            required.append(member)
    left = {**whole, "title": name, "properties": properties, "required": required}
    if "examples" in whole:
        left["examples"] = [_example_without(example, paths) for example in whole["examples"]]
    if schemas.setdefault(name, left) != left:
        raise ValueError(f"two operations leave different members of {model} to a file")
    return ref(name)


def _property_without(schemas: Json, schema: Json, paths: list[list[str]]) -> Json:
    """Return a property's schema without the members at `paths` below; kinds of it that have none fit no form."""
    schema = {name: value for name, value in schema.items() if name != "default"}
    union = next((each for each in ("anyOf", "oneOf") if each in schema), None)
    if union is None:
        return {**schema, **_without(schemas, _named(schema), paths)}
    kinds = [each for each in schema[union] if "$ref" in each and paths[0][0] in schemas[_named(each)]["properties"]]
    left = {**schema, union: [_without(schemas, _named(each), paths) for each in kinds]}
    if "discriminator" in schema:
        mapping = {
            value: f"{reference}WithoutFile"
            for value, reference in schema["discriminator"]["mapping"].items()
            if {"$ref": reference} in kinds
        }
        left["discriminator"] = {**schema["discriminator"], "mapping": mapping}
    return left


def _may_be_empty(schemas: Json, schema: Json) -> bool:
    kinds = [schema] if "$ref" in schema else [*schema.get("anyOf", []), *schema.get("oneOf", [])]
    return not any(schemas[_named(each)]["required"] for each in kinds)


def _named(schema: Json) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _example_without(example: Json, paths: list[list[str]]) -> Json:
    left = {}
    for member, value in example.items():
        below = [path[1:] for path in paths if path[0] == member]
        if [] not in below:
            left[member] = _example_without(value, below) if below else value
    return left


def _problem_schema() -> Json:
    text = {"type": "string"}
    violation = {"type": "object", "properties": {"field": text, "detail": text}, "required": ["field", "detail"]}
    return {
        "title": "Problem",
        "description": "RFC 9457, with a stable `code`; other members are facts about this problem.",
        "type": "object",
        "properties": {
            "type": {**text, "format": "uri-reference"},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "code": {**text, "enum": sorted(CODES)},
            "field": {**text, "description": "The field, parameter or header that is wrong."},
            "correlation_id": text,
            "violations": {"type": "array", "items": violation},
            "permission": {
                **text,
                "description": "What a 403 lacks.",
                "enum": [str(rule.permission) for rule in TABLE],
            },
        },
        "required": ["type", "title", "status", "detail", "code", "correlation_id"],
        "examples": [
            {
                "type": problems.documentation_of("not_permitted"),
                "title": problems.TITLES[403],
                "status": 403,
                "detail": "This needs the permission 'group.sync'.",
                "code": "not_permitted",
                "permission": "group.sync",
                "correlation_id": "5f2b6c0a9d1e4f7c8a3b2d1e0f9c8b7a",
            }
        ],
    }
