"""Typed errors. Two families: what a user can mend (`UserError`) and what a repository could not do (`RepositoryError`).

The edge (`api.errors`) turns the first into `userErrors` or `errors` of a GraphQL answer and masks everything that it does not know.
"""

from collections.abc import Sequence
from enum import StrEnum


class ErrorCode(StrEnum):
    """Machine-readable reasons that a caller may act upon."""

    INVALID = "INVALID"
    REQUIRED = "REQUIRED"
    TAKEN = "TAKEN"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    FORBIDDEN = "FORBIDDEN"
    INVALID_CREDENTIALS = "INVALID_CREDENTIALS"
    CONFIRMATION_REQUIRED = "CONFIRMATION_REQUIRED"
    EMPTY_CART = "EMPTY_CART"
    CART_NOT_ACTIVE = "CART_NOT_ACTIVE"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    PRICE_CHANGED = "PRICE_CHANGED"
    VOUCHER_NOT_APPLICABLE = "VOUCHER_NOT_APPLICABLE"
    OUT_OF_STOCK = "OUT_OF_STOCK"
    PRODUCT_UNAVAILABLE = "PRODUCT_UNAVAILABLE"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    INVALID_TRANSITION = "INVALID_TRANSITION"
    REFUND_TOO_LARGE = "REFUND_TOO_LARGE"
    PAYMENT_DECLINED = "PAYMENT_DECLINED"
    PAYMENT_INSUFFICIENT_FUNDS = "PAYMENT_INSUFFICIENT_FUNDS"
    PAYMENT_TIMEOUT = "PAYMENT_TIMEOUT"
    PAYMENT_TOKEN_UNKNOWN = "PAYMENT_TOKEN_UNKNOWN"  # noqa: S105 - a reason, not a credential
    PAYMENT_IN_PROGRESS = "PAYMENT_IN_PROGRESS"
    PAYMENT_PROVIDER_CHANGED = "PAYMENT_PROVIDER_CHANGED"


class UserError(Exception):
    """Something that the caller can mend.

    `field` is the path inside the mutation's input (camelCase is made at the edge), `message` says what is wrong and how to mend it.
    """

    def __init__(self, code: ErrorCode, message: str, field: str | Sequence[str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field: tuple[str, ...] | None = (field,) if isinstance(field, str) else tuple(field) if field else None


class BadInput(Exception):
    """An argument that no caller should send: wrong kind of id, impossible page, foreign cursor. Names the argument."""

    def __init__(self, argument: str, message: str) -> None:
        super().__init__(f"{argument}: {message}")
        self.argument = argument


class RepositoryError(Exception):
    """An operation of a repository failed. Carries which operation of which entity; the cause is chained, never shown to callers."""

    def __init__(self, message: str = "the operation failed", *, operation: str | None = None, entity: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.entity = entity

    def located(self, operation: str, entity: str) -> "RepositoryError":
        """This error, naming the innermost operation and entity that it passed through."""
        self.operation = self.operation or operation
        self.entity = self.entity or entity
        return self

    def __str__(self) -> str:
        return f"{self.entity}.{self.operation}: {self.message}" if self.operation else self.message


class NotFound(RepositoryError):
    """No such row inside the caller's scope: missing and foreign rows look alike."""


class Conflict(RepositoryError):
    """Concurrent work won, also after bounded retries. Trying again may succeed."""


class StaleVersion(Conflict):
    """The row changed since the caller read it."""


class ConstraintViolation(RepositoryError):
    """The database refused a value. `constraint` is the constraint's name."""

    def __init__(self, constraint: str, message: str = "a constraint was violated") -> None:
        super().__init__(f"{message}: {constraint}")
        self.constraint = constraint


class InvalidValue(RepositoryError):
    """A value that no column can hold: text with NUL, a number out of range."""


class TooLarge(RepositoryError):
    """A question that takes more rows, memory or time than one may; a narrower one can be answered."""


class Unavailable(RepositoryError):
    """The database did not answer in time, or is away. The same call may succeed later."""
