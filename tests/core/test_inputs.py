"""What inputs refuse, and that the refusal names the field."""

from decimal import Decimal
from typing import Annotated, Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.core.inputs import (
    MAX_JSON_BYTES,
    Amount,
    AnyCase,
    CleanText,
    CurrencyCode,
    Input,
    JsonObject,
    JsonValue,
    Line,
    Passage,
    Update,
    Url,
)
from app.orders.models import OrderStatus


class Everything(Input):
    clean: CleanText = "x"
    line: Annotated[str, Line(10)] = "x"
    passage: Annotated[str, Passage(10)] = ""
    url: Url = "https://example.com/"
    value: JsonValue = None
    document: JsonObject = {}  # noqa: RUF012 - pydantic copies it
    status: Annotated[OrderStatus, AnyCase] = OrderStatus.PENDING
    currency: CurrencyCode = "USD"
    price: Amount = Decimal(0)


class Change(Update):
    nullable: ClassVar[frozenset[str]] = frozenset({"nickname"})

    name: str | None = None
    nickname: str | None = None


def refusal(**values: Any) -> tuple[str, str]:
    """The field that is refused, and why."""
    with pytest.raises(ValidationError) as refused:
        Everything(**values)
    (error,) = refused.value.errors()
    return str(error["loc"][0]), error["msg"]


@pytest.mark.parametrize("field", ["clean", "line", "passage", "url", "value", "document"])
@pytest.mark.parametrize(("text", "reason"), [("a\x00b", "NUL"), ("a\ud800b", "Unicode")], ids=["NUL", "surrogate"])
def test_what_postgresql_cannot_store_is_refused(field: str, text: str, reason: str) -> None:
    named, message = refusal(**{field: {"key": [text]} if field == "document" else text})
    assert named == field
    assert reason in message


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=10))
def test_all_other_text_is_taken_as_it_is(text: str) -> None:
    assert Everything(passage=text).passage == text
    assert Everything(clean=text).clean == text


def test_a_line_is_stripped_before_it_is_measured() -> None:
    assert Everything(line=f"  {'a' * 10}\n").line == "a" * 10
    assert refusal(line=" \t ") == ("line", "String should have at least 1 character")
    assert refusal(line="a" * 11) == ("line", "String should have at most 10 characters")
    assert refusal(passage="a" * 11) == ("passage", "String should have at most 10 characters")
    assert refusal(line=5) == ("line", "Input should be a valid string")


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://example.com/",
        "//example.com/",
        "example.com",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://exa mple.com/",
        "https://example.com/\nx",
        "https://example.com/" + "a" * 2048,
        "https://example.com/" + "ü" * 400,
        "https://",
        "",
    ],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    assert refusal(url=url)[0] == "url"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://EXAMPLE.com", "https://example.com/"),
        ("http://example.com:8080/a?b=c#d", "http://example.com:8080/a?b=c#d"),
        ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
    ],
)
def test_web_addresses_are_kept_in_their_normal_form(given: str, kept: str) -> None:
    assert Everything(url=given).url == kept


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        [float("inf")],
        {"a": {"b": float("-inf")}},
        {"a\x00": 1},
        {1: 2},
        {"a": object()},
        2**64,
        nested(33),
        nested(1000),
        "a" * MAX_JSON_BYTES,
        [1] * MAX_JSON_BYTES,
    ],
    ids=["nan", "inf", "deep -inf", "NUL key", "number key", "object", "long number", "33 levels", "1000 levels", "long text", "long list"],
)
def test_what_jsonb_cannot_hold_is_refused(value: Any) -> None:
    assert refusal(value=value)[0] == "value"


def test_a_circle_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert refusal(value=circle)[0] == "value"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text("aß€😀\n"),
    lambda children: st.lists(children, max_size=5) | st.dictionaries(st.text("ab"), children, max_size=5),
    max_leaves=20,
)


@given(json_values)
def test_all_other_json_is_taken_as_it_is(value: Any) -> None:
    assert Everything(value=value).value == value


@pytest.mark.parametrize(
    "price", ["1_000", "\uff11\uff12", "1e3", "NaN", "+5", " 5", "-1", ".5", "5.", "", 1.5, True, Decimal("NaN"), Decimal("-0.01")]
)
def test_what_is_no_amount_is_refused(price: Any) -> None:
    assert refusal(price=price)[0] == "price"


@pytest.mark.parametrize("price", [Decimal("1E+15"), Decimal("1E+999999"), Decimal("1E-999999"), Decimal("0.00001"), 10**15])
def test_what_the_column_cannot_hold_is_refused(price: Any) -> None:
    assert refusal(price=price)[0] == "price"


@pytest.mark.parametrize(("price", "value"), [("12.50", "12.50"), (12, "12"), (Decimal("999999999999999.99"), "999999999999999.99")])
def test_amounts(price: Any, value: str) -> None:
    assert Everything(price=price).price == Decimal(value)


@pytest.mark.parametrize(
    ("currency", "price", "digits"), [("USD", "1.234", 2), ("JPY", "1.5", 0), ("KWD", "1.2345", 3)], ids=["dollars", "yen", "dinars"]
)
def test_amounts_have_no_more_decimals_than_their_currency(currency: str, price: str, digits: int) -> None:
    assert refusal(currency=currency, price=price) == ("price", f"must have at most {digits} decimals in {currency}")


@pytest.mark.parametrize("code", ["usd", "XXX", "US\x00", "US\ud800", "XAU", "DEM", "US", "", "USDD"])
def test_what_is_no_currency_is_refused(code: str) -> None:
    named, message = refusal(currency=code)
    assert named == "currency"
    assert "ISO 4217" in message


def test_enums_may_be_in_any_case_where_the_specification_writes_them_so() -> None:
    assert Everything(status="completed").status is OrderStatus.COMPLETED  # type: ignore[arg-type]
    assert refusal(status="done")[0] == "status"


def test_unknown_fields_are_refused() -> None:
    assert refusal(colour="red") == ("colour", "Extra inputs are not permitted")


def test_errors_do_not_quote_the_value() -> None:
    with pytest.raises(ValidationError) as refused:
        Everything(line="my secret word")
    assert "secret" not in str(refused.value)


def test_inputs_cannot_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Everything().line = "y"  # type: ignore[misc]


def test_an_update_tells_what_is_left_out_from_what_is_null() -> None:
    assert Change().model_dump(exclude_unset=True) == {}
    assert Change(nickname=None).model_dump(exclude_unset=True) == {"nickname": None}
    assert Change(name="a").model_dump(exclude_unset=True) == {"name": "a"}


def test_a_column_that_must_have_a_value_cannot_be_set_to_null() -> None:
    with pytest.raises(ValidationError) as refused:
        Change(name=None)
    assert [(error["loc"], error["msg"]) for error in refused.value.errors()] == [
        (("name",), "cannot be null; leave it out to keep the present value")
    ]


def inputs(base: type[Input]) -> list[type[Input]]:
    return [child for cls in base.__subclasses__() for child in (cls, *inputs(cls)) if child.__module__.startswith("app.")]


def test_a_currency_is_declared_before_its_amount() -> None:
    """Else the amount would not be checked against it."""
    priced = [cls for cls in inputs(Input) if "currency" in cls.model_fields and {"price", "total", "amount"} & set(cls.model_fields)]
    assert len(priced) >= 4
    for cls in priced:
        names = list(cls.model_fields)
        assert names.index("currency") < min(names.index(name) for name in ("price", "total", "amount") if name in names), cls


def test_ids_are_uuids() -> None:
    class Named(Input):
        id: UUID

    with pytest.raises(ValidationError):
        Named(id="1")  # type: ignore[arg-type]
