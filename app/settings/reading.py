"""Reading settings, with complaints that name the variable and its flaw, and showing them to people."""

from collections.abc import Iterator

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from app.settings.kinds import Environment
from app.settings.model import Settings


class SettingsError(Exception):
    """A setting has a wrong value. The text names each variable and what it may be; the values of secrets are never in it."""


def read_settings(**given: object) -> Settings:
    """The settings of the environment; `given` wins over it, by field name.

    Raises SettingsError with one line per wrong value.
    """
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError("\n".join(_complaints(error))) from None


def settings_table() -> str:
    """A Markdown table of every setting: variable, default, meaning."""
    rows = (f"| `{name.upper()}` | {_default_text(field)} | {field.description} |" for name, field in Settings.model_fields.items())
    return "\n".join(["| Variable | Default | Meaning |", "| --- | --- | --- |", *rows])


def _complaints(error: ValidationError) -> Iterator[str]:
    for details in error.errors(include_url=False):
        # A default that depends on a wrong setting says nothing of its own.
        if details["type"] != "default_factory_not_called":
            yield _complaint(details)


def _complaint(details: ErrorDetails) -> str:
    message = details["msg"].removeprefix("Value error, ")
    if not details["loc"]:
        return message
    name = str(details["loc"][0])
    field = Settings.model_fields[name]
    shown = "" if _is_secret(field) else f" (it is {str(details['input'])[:100]!r})"
    return f"{name.upper()}: {message}{shown}"


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


def _default_text(field: FieldInfo) -> str:
    if field.default is not PydanticUndefined:
        return _value_text(field.default)
    made = field.get_default(call_default_factory=True, validated_data={"environment": Environment.DEVELOPMENT})
    made_in_production = field.get_default(call_default_factory=True, validated_data={"environment": Environment.PRODUCTION})
    return f"{_value_text(made)} in development, {_value_text(made_in_production)} in production"


def _value_text(value: object) -> str:
    if value is None or value == ():
        return "none"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"
