"""One-time tokens: made by replacing the one before, used once."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Interval, bindparam, case, delete, func, or_, text, update
from sqlalchemy.dialects.postgresql import insert

from app.accounts.models import Verification, VerificationPurpose
from app.core.repository import Repository

MAX_MAILS = 5
MAILS_WINDOW = timedelta(hours=1)
KEPT = timedelta(days=1)


class VerificationRepository(Repository[Verification]):
    """Tokens are for the system alone: whoever presents one is known by nothing else yet."""

    model = Verification

    async def issue(
        self, purpose: VerificationPurpose, email: str, user_id: UUID | None, token_hash: str, lifetime: timedelta
    ) -> Verification | None:
        """A new token for an address, good for `lifetime`; the one before is void.

        None once the address has had `MAX_MAILS` for this purpose within an hour: then the last one stays good, so that whoever asks on and
        on neither fills a stranger's mailbox nor voids what is in it.
        """
        return await self.row(
            self.statement("issue", self._issuing),
            purpose=purpose.value,
            email=email,
            user_id=user_id,
            token_hash=token_hash,
            lifetime=lifetime,
        )

    async def count_mail(self, id: UUID) -> None:
        """Count a mail that was handed over."""
        await self.row(self.statement("count_mail", self._counting), id=id)

    async def find_valid(self, purpose: VerificationPurpose, token_hash: str) -> Verification | None:
        """What a token stands for, if it is good for this purpose now."""
        where = {"purpose": purpose.value, "token_hash": token_hash, "ended_at": None, "expires_at": {"gt": self.repositories.now()}}
        return await self.find_first(where)

    async def verify_and_consume(self, purpose: VerificationPurpose, token_hash: str) -> Verification | None:
        """Use a token up. Of callers who present it at the same time, one gets what it stands for."""
        statement = self.statement(
            "verify_and_consume",
            lambda: (
                update(self.table)
                .where(self.table.c.purpose == bindparam("purpose"), self.table.c.token_hash == bindparam("token_hash"), self._valid())
                .values(ended_at=func.now(), updated_at=func.now())
                .returning(*self.table.c)
            ),
        )
        return await self.row(statement, purpose=purpose.value, token_hash=token_hash)

    async def end_for_user(self, user_id: UUID, purpose: VerificationPurpose) -> int:
        """Void a user's tokens of a purpose; returns how many were good."""
        return await self.update_many(
            {"user_id": user_id, "purpose": purpose.value, "ended_at": None}, {"ended_at": self.repositories.now()}
        )

    async def delete_expired(self) -> int:
        """Remove what has been of no use for a day; returns how many."""
        statement = self.statement(
            "delete_expired",
            lambda: (
                delete(self.table)
                .where(self.table.c.expires_at < func.now() - bindparam("kept", type_=Interval))
                .returning(self.table.c.id)
            ),
        )
        return len(await self.rows(statement, kept=KEPT))

    def _valid(self) -> ColumnElement[bool]:
        return (self.table.c.ended_at.is_(None)) & (self.table.c.expires_at > func.now())

    def _quiet(self) -> ColumnElement[bool]:
        """Whether the hour in which mails were last counted is over."""
        return self.table.c.mails_since < func.now() - MAILS_WINDOW

    def _issuing(self) -> Any:
        new = {
            "user_id": bindparam("user_id"),
            "token_hash": bindparam("token_hash"),
            "expires_at": func.now() + bindparam("lifetime", type_=Interval),
            "email": bindparam("email"),
        }
        made = insert(self.table).values(purpose=bindparam("purpose"), **new)
        return made.on_conflict_do_update(
            index_elements=[text("lower(email)"), self.table.c.purpose],
            set_={name: made.excluded[name] for name in new} | {"ended_at": None, "created_at": func.now(), "updated_at": func.now()},
            where=or_(self.table.c.mails < MAX_MAILS, self._quiet()),
        ).returning(*self.table.c)

    def _counting(self) -> Any:
        quiet = self._quiet()
        return (
            update(self.table)
            .where(self.table.c.id == bindparam("id"))
            .values(
                mails=case((quiet, 1), else_=self.table.c.mails + 1), mails_since=case((quiet, func.now()), else_=self.table.c.mails_since)
            )
            .returning(self.table.c.id)
        )
