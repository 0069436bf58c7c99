"""What checks and reconciliation have in common: how a run ends, and the kinds of value that both write down."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints
from sqlalchemy import Numeric

from app.core.inputs import AnyCase

MILLISECONDS = Numeric(12, 3)
"""How long something took, in milliseconds."""


class ValidationStatus(StrEnum):
    """How a check or a comparison ended; ERROR is one that could not be run."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    WARNING = "WARNING"
    ERROR = "ERROR"


Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*$", max_length=63)]
"""The name of a table or a column; whether it exists and may be looked at is the repository's to say."""

Status = Annotated[ValidationStatus, AnyCase]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Milliseconds = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=3)]
