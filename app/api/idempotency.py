"""Mutations that take effect once, however often they are sent.

    @mutation(access=own("orders:write"), idempotent=Effect.ONE_TRANSACTION)
    async def create_order(self, info: Info, input: CreateOrderInput) -> OrderPayload | None: ...

A request with an `idempotencyKey` is kept with its account, its operation and a fingerprint of its input, and so is its answer: objects by
their ids, to be read again as they are then, and user errors as they were. Sent again it gets the answer; with another input it is refused;
while it is under way it is told to come back. What fails for reasons that are nobody's input is forgotten, so that it can be tried again.
Requests without a key, and those of visitors, are what they were.
"""

import dataclasses
import hashlib
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Final, Protocol
from uuid import UUID

import orjson
import strawberry
from strawberry import UNSET
from strawberry.extensions import FieldExtension

from app.api.context import Context
from app.api.permissions import Access, check
from app.core.claims import Claim
from app.core.database import Transaction
from app.core.errors import ErrorCode, UserError
from app.core.inputs import Input, Line

DESCRIPTION: Final = "Sent again with the same key, the request gets the same answer and takes no effect."
NOT_FINAL: Final = frozenset({ErrorCode.PAYMENT_TIMEOUT, ErrorCode.PAYMENT_IN_PROGRESS})
"""Refusals that say that the outcome is not known yet: the request is to be made again."""


class Keyed(Input):
    """A key as it can be stored."""

    idempotency_key: Annotated[str, Line(255)]


Resolve = Callable[[], Awaitable[Any]]


class Effect(StrEnum):
    """How a mutation takes effect.

    ONE_TRANSACTION: its key and its answer are written in the transaction of the effect itself. SEVERAL_STEPS: it leaves the process, so
    the key is taken before and the answer written after; a request whose process died is made anew, and each step must bear that.
    """

    ONE_TRANSACTION = "ONE_TRANSACTION"
    SEVERAL_STEPS = "SEVERAL_STEPS"


class Refusing(Protocol):
    """What turns errors into a payload."""

    def refused(self, errors: list[Any]) -> Any: ...

    async def refusing(self, work: Resolve) -> Any: ...


class _Refused(Exception):
    """Undoes the effect of a mutation that was refused in the midst of it."""

    def __init__(self, payload: Any) -> None:
        super().__init__()
        self.payload = payload


class Idempotent(FieldExtension):
    """Stands before a mutation, its guard, and the extension that answers its refusals: of several, Strawberry calls the last first."""

    def __init__(self, effect: Effect, refusals: Refusing, access: Access) -> None:
        self.effect = effect
        self.refusals = refusals
        self.access = access

    async def resolve_async(self, next_: Callable[..., Awaitable[Any]], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        key: Any = kwargs.get("idempotency_key") or getattr(kwargs.get("input"), "idempotency_key", None)
        context: Context = info.context

        async def resolve() -> Any:
            return await next_(source, info, **kwargs)

        async def once(user_id: UUID) -> Any:
            claim = Claim(user_id, info.field_name, Keyed(idempotency_key=key).idempotency_key, fingerprint(kwargs))
            return await (self._in_one(context, claim, resolve) if one else self._in_steps(context, claim, resolve))

        user_id, one = context.viewer.user_id, self.effect is Effect.ONE_TRANSACTION
        if key is None or key is UNSET or user_id is None:
            return await resolve()
        check(self.access, context.viewer)
        return await self.refusals.refusing(partial(once, user_id))

    async def _in_one(self, context: Context, claim: Claim, resolve: Resolve) -> Any:
        """Key, effect and answer in one transaction; what was refused leaves its answer alone."""
        outside = context.repositories

        async def work(transaction: Transaction) -> Any:
            keys = outside.unscoped.bound_to(transaction).idempotency_keys
            known = await keys.claim_inside(claim)
            if known is not None:
                return await self._replayed(known, outside)
            try:
                async with transaction.savepoint():
                    context.repositories = outside.bound_to(transaction)
                    payload = await resolve()
                    if payload.user_errors:
                        raise _Refused(payload)
            except _Refused as refused:
                payload = refused.payload
            finally:
                context.repositories = outside
            await (keys.answer(claim, packed(payload)) if is_final(payload) else keys.release(claim))
            return payload

        return await outside.database.retry(work)

    async def _in_steps(self, context: Context, claim: Claim, resolve: Resolve) -> Any:
        keys = context.repositories.unscoped.idempotency_keys
        known = await keys.claim(claim)
        if known is not None:
            return await self._replayed(known, context.repositories)
        try:
            payload = await resolve()
        except Exception:
            await keys.release(claim)
            raise
        await (keys.answer(claim, packed(payload)) if is_final(payload) else keys.release(claim))
        return payload

    async def _replayed(self, answer: dict[str, Any], repositories: Any) -> Any:
        """The payload that was answered, its objects as they are now."""
        errors = [UserError(ErrorCode(error["code"]), error["message"], error["field"]) for error in answer["user_errors"]]
        payload = self.refusals.refused(errors)
        for name, (table, id) in answer["objects"].items():
            setattr(payload, name, await getattr(repositories, table).find_by_id(UUID(id)))
        return payload


def fingerprint(arguments: dict[str, Any]) -> str:
    """SHA-256 of what a mutation is asked, but its key: equal for equal requests. Nothing of it can be read back."""
    asked = {name: _plain(value) for name, value in arguments.items() if name != "idempotency_key"}
    return hashlib.sha256(orjson.dumps(asked, default=str, option=orjson.OPT_SORT_KEYS)).hexdigest()


def packed(payload: Any) -> dict[str, Any]:
    """What is kept of a payload: the places of its objects, and its user errors as they are."""
    rows = {name: row for name, row in vars(payload).items() if name != "user_errors" and row is not None}
    errors = [{"code": error.code, "message": error.message, "field": error.field} for error in payload.user_errors]
    return {"objects": {name: [row.model.__tablename__, str(row.id)] for name, row in rows.items()}, "user_errors": errors}


def is_final(payload: Any) -> bool:
    """Whether a payload is the answer for good."""
    return not any(error.code in NOT_FINAL for error in payload.user_errors)


def _plain(value: Any) -> Any:
    if not dataclasses.is_dataclass(value):
        return value
    given = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.name != "idempotency_key"}
    return {name: _plain(found) for name, found in given.items() if found is not UNSET}
