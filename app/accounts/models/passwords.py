"""Inputs that carry a password, or the token from a mail as proof."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from app.accounts.models.emails import Email
from app.core.inputs import Input, Passage, clean

MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 128
MAX_TOKEN_LENGTH = 200

Password = Annotated[SecretStr, Field(min_length=MIN_PASSWORD_LENGTH, max_length=MAX_PASSWORD_LENGTH)]


class PasswordInput(Input):
    """An input with a new password: 8 to 128 characters. It never shows in logs or errors."""

    password: Password

    @field_validator("password")
    @classmethod
    def _storable(cls, value: SecretStr) -> SecretStr:
        clean(value.get_secret_value())
        return value


class PasswordChange(PasswordInput):
    """A new password, and the present one as proof."""

    current_password: SecretStr


class PasswordResetRequest(Input):
    """Whose password is to be set anew."""

    email: Email


class PasswordReset(PasswordInput):
    """A new password, and the token from a mail as proof."""

    token: Annotated[str, Passage(MAX_TOKEN_LENGTH)] = Field(repr=False)


class EmailVerification(Input):
    """The token from a mail, as proof that its address is the account's."""

    token: Annotated[str, Passage(MAX_TOKEN_LENGTH)] = Field(repr=False)
