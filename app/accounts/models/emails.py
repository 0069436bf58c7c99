"""Email addresses."""

from typing import Annotated

from email_validator import EmailNotValidError
from email_validator import validate_email as parse_email
from pydantic import EmailStr, Field


def validate_email(email: str) -> bool:
    """Whether a text has the form of an email address (RFC 5322 without its oddities); asks no name server."""
    try:
        parse_email(email, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


Email = Annotated[EmailStr, Field(max_length=254)]
