"""What the policy says of each table, as statements: whose rows they are, which go, and which stay without whom they were about."""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Text, bindparam, case, cast, delete, exists, func, or_, select, update
from sqlalchemy import Uuid as UuidType
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlmodel import SQLModel

from app.accounts.models import User, address_hash
from app.accounts.repository import UserRepository
from app.core.errors import ErrorCode, NotFound, UserError
from app.core.jobs import forget
from app.core.repository import Repository, transactional
from app.orders.models import OrderStatus, PaymentStatus
from app.orders.models.refunds import RefundStatus
from app.privacy.models import AccountErasure
from app.privacy.policy import POLICIES, By, Clear, Erase, Match, Policy, Through

PATIENCE: Final = timedelta(minutes=10)
"""How long traces may be left before somebody looks after them again."""

VALUES: Final = {By.USER: "person_id", By.EMAIL: "person_email", By.ADDRESS_HASH: "person_address_hash"}
WORDS: Final = ("word_id", "word_email", "word_name")
"""The parameters of the statements."""


def person(user_id: UUID, email: str | None) -> dict[str, Any]:
    """The values of the statements that are of a person."""
    return dict(zip(VALUES.values(), (user_id, email, None if email is None else address_hash(email)), strict=True))


def table_of(name: str) -> Any:
    return SQLModel.metadata.tables[name]


def owned(table: Any, whose: Match | Through) -> ColumnElement[bool]:
    """That a row is the person's."""
    column = table.c[whose.column]
    if isinstance(whose, Through):
        parent = table_of(whose.parent)
        own = POLICIES[whose.parent].own
        assert own is not None, f"{whose.parent} is nobody's"
        return column.in_(select(parent.c.id).where(owned(parent, own)))  # type: ignore[no-any-return]
    if whose.by is By.USER:
        id: Any = bindparam(VALUES[whose.by], type_=UuidType)
        return column == (id if isinstance(column.type, UuidType) else cast(id, Text))  # type: ignore[no-any-return]
    value: Any = bindparam(VALUES[whose.by], type_=column.type)
    return func.lower(column) == func.lower(value) if whose.by is By.EMAIL else column == value


def erasing(name: str, rule: Erase | Clear) -> Any:
    """The statement of a rule."""
    table = table_of(name)
    mine = owned(table, rule.match)
    if isinstance(rule, Clear):
        return update(table).where(mine).values({column: emptied(table.c[column]) for column in rule.columns}).returning(table.c.id)
    if rule.unless is None:
        return delete(table).where(mine).returning(table.c.id)
    other = table_of(rule.unless[0])
    return delete(table).where(mine, ~exists().where(other.c[rule.unless[1]] == table.c.id)).returning(table.c.id)


def emptied(column: Any) -> Any:
    """Nothing, or where there must be something, what tells nothing: the row's own id."""
    if column.nullable:
        return None
    name = func.concat("deleted-", func.replace(cast(column.table.c.id, Text), "-", ""))
    return func.concat(name, "@deleted.invalid") if column.name == "email" else name


def forgetting(name: str, policy: Policy) -> Any:
    """The statement that takes out what mentions the person: by id, address, or the name of the account as a JSON text."""
    table = table_of(name)
    about = {column: mentions(func.lower(cast(table.c[column], Text))) for column in policy.mentions}
    changed = {column: case((found, None), else_=table.c[column]) for column, found in about.items()}
    return update(table).where(or_(*about.values())).values(changed).returning(table.c.id)


def mentions(text: ColumnElement[str]) -> ColumnElement[bool]:
    """That one of the words that stand for the person is in a text."""
    return or_(*(func.strpos(text, func.lower(bindparam(word, type_=Text))) > 0 for word in WORDS))


class ErasureRepository(Repository[AccountErasure]):
    """For the system: what is left of deleted accounts."""

    model = AccountErasure

    @transactional
    async def close_account(self, user_id: UUID, password_hash: str | None) -> AccountErasure:
        """End an account and erase its person here, all or nothing; its address is free at once.

        Raises `NotFound` where it has ended or has another password by now; `UserError` for whoever must settle something first.
        """
        users = self.repositories.of(UserRepository)
        user = await users.lock_role_of(user_id)
        if user is None or user.password_hash != password_hash:
            raise NotFound("no User has this id and password")
        await self._check(user)
        await users.soft_delete(user_id)
        await self.erase(user_id, user.email, user.username)
        row = await self.row(self.statement("begin", self._beginning), user_id=user_id)
        assert row is not None, "an account ends once"
        return row

    @transactional
    async def erase(self, user_id: UUID, email: str | None = None, username: str | None = None) -> None:
        """Go through all tables as the policy says. Without address and name, only what is known to be of the account is found."""
        values = person(user_id, email)
        words = dict(zip(WORDS, (str(user_id), email, None if username is None else f'"{username}"'), strict=True))
        for name, policy in POLICIES.items():
            for n, rule in enumerate(policy.rules):
                await self.rows(self.statement((name, n), lambda name=name, rule=rule: erasing(name, rule)), **values)  # type: ignore[misc]
            if policy.mentions:
                await self.rows(self.statement((name, "mentions"), lambda name=name, policy=policy: forgetting(name, policy)), **words)  # type: ignore[misc]
        if email is not None:
            transaction = self.session.current_transaction
            assert transaction is not None, "this method opens one"
            await forget(transaction, email)

    async def finish(self, user_id: UUID) -> None:
        """Say that nothing is left."""
        await self.update_many({"user_id": user_id, "finished_at": None}, {"finished_at": self.repositories.now()})

    async def find_left(self) -> list[UUID]:
        """Deleted accounts of which traces have been left for long."""
        left = await self.find_many({"finished_at": None, "created_at": {"lt": self.repositories.now() - PATIENCE}})
        return [row.user_id for row in left]

    # --- What must be settled first

    async def _check(self, user: User) -> None:
        if await self.value(self.statement("owns_store", self._owned_stores), user_id=user.id):
            message = "your account owns a store; have an administrator close it, or give it to somebody else, first"
            raise UserError(ErrorCode.FORBIDDEN, message)
        if await self.value(self.statement("is_buying", self._unfinished), user_id=user.id):
            message = "an order, a payment or a refund of yours is under way; pay or cancel what is open, and wait until the rest has ended"
            raise UserError(ErrorCode.CONFLICT, message)
        users = self.repositories.of(UserRepository)
        await users.check_last_administrator(user, "give somebody else the role first")

    def _owned_stores(self) -> Any:
        stores = table_of("stores")
        return select(exists().where(stores.c.owner_id == bindparam("user_id"), ~stores.c.is_deleted))

    def _unfinished(self) -> Any:
        """Whether money or goods of the person are still on their way."""
        orders, payments, refunds = table_of("orders"), table_of("payments"), table_of("refunds")
        mine = select(orders.c.id).where(orders.c.user_id == bindparam("user_id", type_=UuidType))
        paid = select(payments.c.id).where(payments.c.order_id.in_(mine))
        return select(
            or_(
                exists().where(orders.c.id.in_(mine), orders.c.status == OrderStatus.PENDING.value),
                exists().where(payments.c.id.in_(paid), payments.c.status == PaymentStatus.PENDING.value),
                exists().where(refunds.c.payment_id.in_(paid), refunds.c.status == RefundStatus.PENDING.value),
            )
        )

    def _beginning(self) -> Any:
        row = upsert(self.table).values(user_id=bindparam("user_id", type_=UuidType))
        return row.on_conflict_do_nothing(index_elements=["user_id"]).returning(*self.table.c)
