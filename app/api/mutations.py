"""How mutations are declared: access beside the field, what a user can mend in the payload's `userErrors`.

    @mutation(access=requires("products:write"))
    async def create_product(self, info: Info, input: CreateProductInput) -> ProductPayload | None: ...

A root mutation field is nullable, so that its failure does not erase the answers of those that already took effect.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar, cast

import strawberry
from pydantic import BaseModel, ValidationError
from strawberry import UNSET
from strawberry.extensions import FieldExtension
from strawberry.types import get_object_definition
from strawberry.types.base import StrawberryOptional
from strawberry.types.field import StrawberryField

from app.api.errors import camel_case
from app.api.idempotency import Effect, Idempotent
from app.api.permissions import Access, protected
from app.api.rate_limit import Rate, Throttle
from app.core import errors
from app.core.errors import ErrorCode

B = TypeVar("B", bound=BaseModel)
F = TypeVar("F", bound=Callable[..., Any])

ErrorCodeEnum = strawberry.enum(ErrorCode, description="Why a mutation was refused.")


@strawberry.type(description="Something in a mutation's input that its sender can mend.")
class UserError:
    field: list[str] | None = strawberry.field(description="Path inside the input; null where no single field is to blame.")
    message: str
    code: ErrorCodeEnum  # type: ignore[valid-type]


@strawberry.type
class Payload:
    """Base of all payloads."""

    user_errors: list[UserError] = strawberry.field(default_factory=list, description="Empty when the mutation took effect.")


class Refusals(FieldExtension):
    """Answers `UserError`s and invalid inputs with a payload of the mutation's own type."""

    def __init__(self) -> None:
        self.payload: type[Any] | None = None

    def apply(self, field: StrawberryField) -> None:
        self._field = field

    async def resolve_async(self, next_: Callable[..., Awaitable[Any]], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        async def work() -> Any:
            answer = await next_(source, info, **kwargs)
            # What earlier mutations of the same document have loaded may have changed.
            info.context.loaders.clear()
            return answer

        return await self.refusing(work)

    async def refusing(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """What the work answers, or a payload that says why it was refused."""
        try:
            return await work()
        except errors.UserError as error:
            return self.refused([error])
        except ValidationError as error:
            return self._payload(_invalid(error))

    def refused(self, found: list[errors.UserError]) -> Any:
        """A payload without objects."""
        return self._payload([shown(error) for error in found])

    def _payload(self, found: list[UserError]) -> Any:
        if self.payload is None:
            kind = self._field.resolve_type()
            self.payload = kind.of_type if isinstance(kind, StrawberryOptional) else kind  # type: ignore[assignment]
        assert self.payload is not None
        return self.payload(user_errors=found)


def mutation(
    *, access: Access, rate: Rate | None = None, idempotent: Effect | None = None, description: str | None = None
) -> Callable[[F], F]:
    """Declare a root mutation field, with a rate of its own where it is worth trying often: secrets, mails, exports.

    What moves money or stock takes effect once per `idempotencyKey`, which is an argument of its own or a field of its input.
    """
    options, refusals = protected(access), Refusals()
    options["extensions"] += [
        *([Throttle(rate)] if rate else []),
        refusals,
        *([Idempotent(idempotent, refusals, access)] if idempotent else []),
    ]
    return cast(Callable[[F], F], strawberry.mutation(description=description, **options))


def shown(error: errors.UserError) -> UserError:
    return UserError(field=[camel_case(part) for part in error.field] if error.field else None, message=error.message, code=error.code)


def _invalid(error: ValidationError) -> list[UserError]:
    return [
        UserError(
            field=[camel_case(str(part)) for part in found["loc"]] or None,
            message=found["msg"].removeprefix("Value error, "),
            code=ErrorCode.REQUIRED if found["type"] == "missing" else ErrorCode.INVALID,
        )
        for found in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def given(input: Any, without: Iterable[str] = ()) -> dict[str, Any]:
    """The fields of a GraphQL input that the caller set, under their Python names."""
    skipped = set(without)
    fields = get_object_definition(input, strict=True).fields
    named = {field.python_name: getattr(input, field.python_name) for field in fields if field.python_name not in skipped}
    return {name: value for name, value in named.items() if value is not UNSET}


def validated(model: type[B], input: Any, without: Iterable[str] = ()) -> B:
    """The GraphQL input as a repository's validated one; raises pydantic's ValidationError, which `mutation` answers."""
    return model.model_validate(given(input, without))
