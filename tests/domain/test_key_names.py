"""The two names of a key: what they may be, how they are compared, and how one follows from the other."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.key_names import (
    AZURE_NAME_LIMIT,
    NAME_LIMIT,
    azure_form,
    checked_azure_name,
    checked_name,
    copy_name,
    folded,
    in_vault,
    is_chosen,
    label_of,
    synced_name,
)
from core.domain.new_keys import KeyNames
from core.errors import InvalidRequestError

AZURE = re.compile(r"^[0-9a-zA-Z-]{1,127}$")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def valid_names() -> st.SearchStrategy[str]:
    """Whatever `checked_name` takes."""

    def checked(text: str) -> str:
        try:
            return checked_name(text)
        except InvalidRequestError:
            return ""

    return TEXTS.map(lambda text: checked(text[:NAME_LIMIT])).filter(bool)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("card key", "card key"),
        ("  card key\n", "card key"),
        ("x", "x"),
        ("x" * NAME_LIMIT, "x" * NAME_LIMIT),
        ("Zahlungs-Schlüssel Ω 鍵 🔑", "Zahlungs-Schlüssel Ω 鍵 🔑"),
        # Composed and decomposed are the same name, and the composed one is kept.
        ("Schlu\u0308ssel", "Schl\u00fcssel"),
        # The limit is that of what is kept: 129 code points are 128 once composed.
        ("x" * (NAME_LIMIT - 1) + "u\u0308", "x" * (NAME_LIMIT - 1) + "\u00fc"),
    ],
)
def test_a_display_name_is_printable_text_without_slash(text: str, name: str) -> None:
    assert checked_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "x" * (NAME_LIMIT + 1),
        "a/b",
        "/",
        "a\nb",
        "a\tb",
        "a\x00b",
        "a\x7fb",
        "a\u200bb",
        "a\u202eb",
        "a\u00a0b",
        "\ud800",
        # U+0958 is two code points in NFC.
        "\u0958" * NAME_LIMIT,
    ],
)
def test_other_texts_are_no_display_name(text: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        checked_name(text, "names.0")
    assert (refusal.value.code, refusal.value.field) == ("key_name_invalid", "names.0")
    assert text.strip() not in {"a/b", "a\nb"} or text not in refusal.value.detail


@given(TEXTS)
def test_what_is_taken_as_a_display_name_stays_as_it_is(text: str) -> None:
    try:
        name = checked_name(text)
    except InvalidRequestError:
        return
    assert checked_name(name) == name
    assert unicodedata.is_normalized("NFC", name)
    assert 1 <= len(name) <= NAME_LIMIT
    assert is_chosen(name)
    assert "\x00" not in folded(name)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Card", "card", True),
        ("CARD", "cArD", True),
        ("Stra\u00dfe", "STRASSE", True),
        ("Schl\u00fcssel", "schlu\u0308ssel", True),
        ("\u03a3", "\u03c2", True),
        ("card", "card ", False),
        ("card", "cards", False),
        ("card-1", "card_1", False),
    ],
)
def test_display_names_are_compared_without_case_and_composition(one: str, other: str, same: bool) -> None:
    assert (folded(one) == folded(other)) is same


@given(TEXTS)
def test_folding_again_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert folded(unicodedata.normalize("NFD", text)) == folded(text)


@pytest.mark.parametrize("text", ["k", "0", "-", "A-9", "-a-", "x" * AZURE_NAME_LIMIT])
def test_an_azure_name_has_letters_digits_and_hyphens(text: str) -> None:
    assert checked_azure_name(text) == text


@pytest.mark.parametrize(
    "text", ["", "x" * (AZURE_NAME_LIMIT + 1), "a b", "a_b", "a.b", "a/b", "ä", "a\n", "\na", "٣", "a%2f", ".."]
)
def test_other_texts_are_no_azure_name(text: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        checked_azure_name(text)
    assert (refusal.value.code, refusal.value.field) == ("azure_name_invalid", "azure_name")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (KeyNames("card-key"), ("card-key", "card-key")),
        (KeyNames("Card key", "card-key"), ("Card key", "card-key")),
        (KeyNames(None, "card-key"), ("payments/card-key", "card-key")),
    ],
)
def test_a_name_that_is_not_given_follows_from_the_other(names: KeyNames, expected: tuple[str, str]) -> None:
    assert in_vault(names, "payments") == expected


@pytest.mark.parametrize(
    ("names", "code", "field"),
    [
        (KeyNames(), "key_name_invalid", "name"),
        (KeyNames("Card key"), "azure_name_invalid", "azure_name"),
        (KeyNames("a/b"), "key_name_invalid", "name"),
        (KeyNames("a/b", "a-b"), "key_name_invalid", "name"),
        (KeyNames("ok", "not ok"), "azure_name_invalid", "azure_name"),
        (KeyNames(None, "a/b"), "azure_name_invalid", "azure_name"),
    ],
)
def test_names_that_cannot_be_are_refused_by_field(names: KeyNames, code: str, field: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        in_vault(names, "payments")
    assert (refusal.value.code, refusal.value.field) == (code, field)


@given(label=st.text(min_size=1, max_size=40), azure_name=st.from_regex(AZURE, fullmatch=True), name=valid_names())
def test_a_name_that_a_sync_gives_is_never_one_that_somebody_chose(label: str, azure_name: str, name: str) -> None:
    synced = synced_name(label, azure_name)
    assert not is_chosen(synced)
    assert folded(synced) != folded(name)


@given(
    name=valid_names() | st.from_regex(AZURE, fullmatch=True).map(lambda name: synced_name("vault", name)),
    number=st.integers(1, 10**6),
)
def test_the_suggested_name_of_a_copy_is_within_the_limits(name: str, number: int) -> None:
    suggested = copy_name(name, number)
    assert suggested.endswith(f"_copy{number}")
    assert checked_name(suggested) == suggested


def test_suggested_names_are_told_apart_by_their_number_however_long_the_name_is() -> None:
    suggested = {copy_name("x" * NAME_LIMIT, number) for number in range(1, 300)}
    assert len(suggested) == 299


@given(TEXTS)
def test_every_name_has_a_form_that_azure_takes(text: str) -> None:
    assert AZURE.match(azure_form(text))
    assert azure_form(azure_form(text)) == azure_form(text)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("card key", "card-key"),
        ("master_copy1", "master-copy1"),
        ("payments/card", "payments-card"),
        ("Schlüssel für Zürich", "Schlussel-fur-Zurich"),
        ("鍵", "key"),
        ("🔑", "key"),
        ("--", "key"),
        ("", "key"),
        (" a  ..  b ", "a-b"),
        # The end tells copies apart.
        ("x" * 200 + "_copy12", "x" * (AZURE_NAME_LIMIT - 7) + "-copy12"),
        ("y-" + "x" * (AZURE_NAME_LIMIT - 1), "x" * (AZURE_NAME_LIMIT - 1)),
    ],
)
def test_the_form_that_azure_takes(name: str, form: str) -> None:
    assert azure_form(name) == form


def test_labels_of_one_name_are_told_apart() -> None:
    assert [label_of("payments", number) for number in (1, 2, 3)] == ["payments", "payments-2", "payments-3"]
