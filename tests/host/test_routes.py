"""Route templates and their order, as ASP.NET and the real host have them."""

import pytest

from local.host.functions import Function, FunctionError, Trigger
from local.host.routes import Route, RouteTable, build_route, decode_path


def a_route(
    name: str, route: str | None, *methods: str, prefix: str = "api", existing: tuple[Route, ...] = ()
) -> Route:
    settings = {"route": route, "methods": list(methods)}
    return build_route(Function(name, name, Trigger("httpTrigger", "req", settings)), prefix, existing)


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("keys/{key}", "api/keys/one", {"key": "one"}),
        ("keys/{key}", "API/KEYS/One", {"key": "One"}),
        ("keys/{key}", "api/keys", None),
        ("keys/{key}", "api/keys/one/two", None),
        ("keys/{key?}", "api/keys", {}),
        ("keys/{number:int}", "api/keys/12", {"number": "12"}),
        ("keys/{number:int}", "api/keys/x", None),
        ("keys/{name:alpha}", "api/keys/a1", None),
        ("keys/{*rest}", "api/keys/a/b", {"rest": "a/b"}),
        ("keys/{*rest}", "api/keys", {}),
        ("keys/{key}.json", "api/keys/one.json", {"key": "one"}),
        ("keys/a.c", "api/keys/abc", None),
        (None, "api/list", {}),
    ],
)
def test_template(template: str | None, path: str, expected: dict[str, str] | None) -> None:
    found = RouteTable([a_route("list", template)]).match("GET", path)
    assert (found[1] if found else None) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("a_parameter", "b_literal"), "a_parameter"), (("B_parameter", "a_literal"), "a_literal")],
)
def test_first_by_name_wins_over_a_literal(names: tuple[str, str], expected: str) -> None:
    parameter, literal = names
    table = RouteTable([a_route(literal, "x/special"), a_route(parameter, "x/{id}")])
    found = table.match("GET", "api/x/special")
    assert found is not None
    assert found[0].name == expected


def test_method_is_a_constraint() -> None:
    table = RouteTable([a_route("a", "x", "POST"), a_route("b", "x", "GET")])
    found = table.match("GET", "api/x")
    assert found is not None
    assert found[0].name == "b"
    assert table.match("PUT", "api/x") is None


def test_prefix_can_be_empty() -> None:
    assert RouteTable([a_route("a", "x", prefix="")]).match("GET", "x") is not None


@pytest.mark.parametrize("template", ["admin/x", "Administrators", "runtime/x", "x/{a", "x/{a:nothing}"])
def test_refused_template(template: str) -> None:
    with pytest.raises(FunctionError):
        a_route("a", template)


@pytest.mark.parametrize(("methods", "refused"), [(("GET",), True), (("PUT",), False), ((), True)])
def test_same_template_needs_other_methods(methods: tuple[str, ...], *, refused: bool) -> None:
    first = a_route("a", "x/{id}", "GET", "POST")
    if refused:
        with pytest.raises(FunctionError, match="'a'"):
            a_route("b", "X/{id}", *methods, existing=(first,))
    else:
        assert a_route("b", "X/{id}", *methods, existing=(first,)).methods == frozenset(methods)


@pytest.mark.parametrize(
    ("raw", "path"), [("/a/b/?c=/d", "a/b"), ("/a%20b/%2f%2F%41", "a b/%2F%2FA"), ("/%C3%A4", "ä"), ("//", "")]
)
def test_path_is_decoded_but_for_slashes(raw: str, path: str) -> None:
    assert decode_path(raw) == path
