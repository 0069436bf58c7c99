"""The demo shop's people: accounts with documented passwords, and shoppers who cannot sign in."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from app.accounts.models import UserCreate, UserRoleType
from app.seed.assortment import FAMILY_NAMES, GIVEN_NAMES
from app.seed.draw import Draw, Values, new_row
from app.seed.loading import HashPassword


@dataclass(frozen=True)
class Account:
    """Somebody who signs in with a password that everybody knows. `store` is the number of the store that one works for."""

    email: str
    password: str
    role: UserRoleType
    first_name: str
    last_name: str
    store: int | None = None


SHOPPER: Final = Account("demo@example.com", "demo-password-1", UserRoleType.USER, "Robin", "Demo")
ADMINISTRATOR: Final = Account("admin@example.com", "admin-password-1", UserRoleType.ADMIN, "Alex", "Admin")
ANALYST: Final = Account("analyst@example.com", "analyst-password-1", UserRoleType.ANALYST, "Noor", "Analyst", store=0)
VIEWER: Final = Account("viewer@example.com", "viewer-password-1", UserRoleType.VIEWER, "Sam", "Viewer", store=0)
ACCOUNTS: Final = (SHOPPER, ADMINISTRATOR, ANALYST, VIEWER)


async def password_hashes(hash_password: HashPassword, accounts: Sequence[Account]) -> dict[str, str]:
    """The hashes of the accounts' passwords, by email."""
    hashes = await asyncio.gather(*(hash_password(account.password) for account in accounts))
    return {account.email: hashed for account, hashed in zip(accounts, hashes, strict=True)}


def account_row(draw: Draw, account: Account, password_hash: str, role_id: UUID, store_id: UUID | None = None) -> Values:
    """The user of an account. Raises pydantic's ValidationError where the account breaks the rules of sign-up."""
    return _user(draw, account, role_id) | {"password_hash": password_hash, "store_id": store_id}


def shopper_rows(draw: Draw, role_id: UUID) -> list[Values]:
    """Shoppers without a password."""
    return [
        _user(draw, Account(f"{first}.{last}@example.com".lower(), "never-used-1", UserRoleType.USER, first, last), role_id)
        for first, last in zip(GIVEN_NAMES, FAMILY_NAMES, strict=True)
    ]


def user_rows(draw: Draw, hashes: Mapping[str, str], roles: Mapping[str, UUID], store_ids: list[UUID]) -> list[Values]:
    """Everybody; `hashes` are the password hashes by email, `roles` the ids by name."""
    accounts = [
        account_row(draw, one, hashes[one.email], roles[one.role], None if one.store is None else store_ids[one.store]) for one in ACCOUNTS
    ]
    return [*accounts, *shopper_rows(draw, roles[UserRoleType.USER])]


def _user(draw: Draw, account: Account, role_id: UUID) -> Values:
    given = UserCreate(
        email=account.email,
        username=account.email.partition("@")[0],
        password=account.password,  # type: ignore[arg-type]
        first_name=account.first_name,
        last_name=account.last_name,
        email_verified=True,
    )
    joined = draw.ago(timedelta(days=60), timedelta(days=50))
    return new_row(
        joined,
        **given.model_dump(exclude={"password"}),
        name=f"{account.first_name} {account.last_name}",
        password_hash=None,
        role_id=role_id,
        role_assigned_at=joined,
    )
