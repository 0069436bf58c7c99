"""Validated inputs: the base classes and the kinds of value that repositories accept for writing.

What PostgreSQL would refuse (NUL in text, lone surrogates, NaN in JSON) is refused here, with the field's name.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    HttpUrl,
    TypeAdapter,
    ValidationInfo,
    field_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from app.core.money import DECIMAL_PLACES, InvalidAmount, UnknownCurrency, exact, exponent

MAX_JSON_DEPTH = 32
MAX_JSON_BYTES = 64 * 1024
MAX_URL_LENGTH = 2048

_HTTP_URL: TypeAdapter[HttpUrl] = TypeAdapter(HttpUrl)


class Input(BaseModel):
    """What a repository accepts for a new row. Unknown fields are errors, and errors never quote the value (it may be a secret)."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Update(Input):
    """What a repository accepts for changing a row: only the fields that were given change.

    Every field may be left out (`model_dump(exclude_unset=True)` has the rest); null is for the columns in `nullable`.
    """

    nullable: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_null(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name not in cls.nullable:
            raise PydanticCustomError("not_null", "cannot be null; leave it out to keep the present value")
        return value


def clean(value: Any) -> Any:
    """The value itself, unless it is a text that PostgreSQL cannot store.

    Raises:
        PydanticCustomError: it holds a NUL character or a lone surrogate.
    """
    if not isinstance(value, str):
        return value
    if "\x00" in value:
        raise PydanticCustomError("text_nul", "must not contain the NUL character")
    if not _encodable(value):
        raise PydanticCustomError("text_surrogate", "must be valid Unicode text, without lone surrogates")
    return value


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


CleanText = Annotated[str, BeforeValidator(clean)]
"""Text that PostgreSQL can store; `Line` and `Passage` say how long it may be."""


@dataclass(frozen=True, slots=True)
class Line:
    """Marks a text that says something: stripped, then of 1 to `max_length` characters. `Annotated[str, Line(255)]`."""

    max_length: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(strip_whitespace=True, min_length=1, max_length=self.max_length)
        return core_schema.no_info_before_validator_function(clean, text)


@dataclass(frozen=True, slots=True)
class Passage:
    """Marks a text that is taken as it is, perhaps empty, of at most `max_length` characters."""

    max_length: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(clean, core_schema.str_schema(max_length=self.max_length))


def _http_url(value: str) -> str:
    if any(character <= " " for character in value):
        raise PydanticCustomError("url_whitespace", "must not contain white space or control characters; write %20 for a space")
    url = _HTTP_URL.validate_python(value)
    if url.username or url.password:
        raise PydanticCustomError("url_credentials", "must not contain a user name or a password")
    if len(str(url)) > MAX_URL_LENGTH:
        raise PydanticCustomError("url_length", "must not exceed {limit} characters", {"limit": MAX_URL_LENGTH})
    return str(url)


Url = Annotated[str, Line(MAX_URL_LENGTH), AfterValidator(_http_url)]
"""An absolute http(s) URL in its normal form (WHATWG), without credentials."""


def _nested(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        level = [child for parent in level for child in _nested(parent)]
        if not level:
            return
    raise PydanticCustomError("json_depth", "must not be nested deeper than {limit} levels", {"limit": MAX_JSON_DEPTH})


def _check_leaf(value: Any) -> None:
    if isinstance(value, dict):
        for key in value:
            clean(key)
    elif isinstance(value, str):
        clean(value)
    elif isinstance(value, float) and value - value != 0:
        raise PydanticCustomError("json_number", "must not contain NaN or Infinity")


def _json_size(value: Any) -> int:
    try:
        return len(orjson.dumps(value))
    except TypeError as error:
        raise PydanticCustomError(
            "json_type", "must be JSON: objects with texts as keys, lists, valid Unicode texts, 64-bit numbers, true, false or null"
        ) from error


def clean_json(value: Any) -> Any:
    """The JSON value itself, if PostgreSQL can store it as jsonb and it is of a reasonable size.

    Raises:
        PydanticCustomError: not JSON, NaN or Infinity, NUL or a lone surrogate in a text, too deep or more than 64 KiB.
    """
    if _json_size(value) > MAX_JSON_BYTES:
        raise PydanticCustomError("json_size", "must not exceed {limit} bytes as JSON", {"limit": MAX_JSON_BYTES})
    _check_depth(value)
    pending = [value]
    while pending:
        current = pending.pop()
        _check_leaf(current)
        pending.extend(_nested(current))
    return value


JsonValue = Annotated[Any, AfterValidator(clean_json)]
JsonObject = Annotated[dict[str, Any], AfterValidator(clean_json)]


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


AnyCase = BeforeValidator(_upper)
"""Lets an enum be given in lower case, as the specification writes severities, priorities and schedules."""


def _known_currency(value: str) -> str:
    try:
        exponent(value)
    except UnknownCurrency as error:
        raise PydanticCustomError("currency", "must be the three-letter ISO 4217 code of a currency in use, such as USD") from error
    return value


CurrencyCode = Annotated[str, AfterValidator(_known_currency)]


_PLAIN_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")


def _plain_amount(value: Any) -> Any:
    if isinstance(value, float | bool):
        raise PydanticCustomError("amount_type", "must be a decimal number, not a binary fraction")
    if isinstance(value, str) and not _PLAIN_NUMBER.fullmatch(value):
        raise PydanticCustomError("amount_text", "must be written in plain digits, such as 12.50")
    return value


def _suits_currency(value: Decimal, info: ValidationInfo) -> Decimal:
    currency = info.data.get("currency")
    if currency is not None:
        check_precision(value, currency)
    return value


def check_precision(value: Decimal, currency: str) -> None:
    """Refuses an amount with more decimals than its currency has.

    Raises:
        PydanticCustomError: naming the currency and its number of decimals.
    """
    try:
        exact(value, currency)
    except InvalidAmount as error:
        given = {"currency": currency, "digits": exponent(currency)}
        raise PydanticCustomError("amount_precision", "must have at most {digits} decimals in {currency}", given) from error


Amount = Annotated[
    Decimal, BeforeValidator(_plain_amount), Field(ge=0, max_digits=19, decimal_places=DECIMAL_PLACES), AfterValidator(_suits_currency)
]
"""Money in major units: zero or more, at most 15 digits before the point and no more decimals than the currency has.

The currency is the field `currency` of the same input, which must be declared before the amount.
"""
