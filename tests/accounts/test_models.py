"""What the database and the inputs refuse of users, roles, sessions and API keys."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from pydantic import ValidationError

from app.accounts.models import (
    ApiKeyCreate,
    RoleCreate,
    RolePermissionCreate,
    UserCreate,
    UserSessionCreate,
    UserStatus,
    UserUpdate,
    is_active_user,
    validate_email,
)

Insert = Callable[..., Awaitable[UUID]]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("table", "values", "constraint"),
    [
        ("users", {"status": "PENDING"}, "ck_users_status"),
        ("users", {"status": "DELETED"}, "ck_users_status_deleted"),
        ("users", {"login_count": -1}, "ck_users_login_count_not_negative"),
        ("users", {"metadata": "1"}, "ck_users_metadata_is_object"),
        ("roles", {"level": -1}, "ck_roles_level_not_negative"),
        ("roles", {"id": UUID(int=1), "parent_role_id": UUID(int=1)}, "ck_roles_parent_is_another"),
        ("role_permissions", {"conditions": "true"}, "ck_role_permissions_conditions"),
        ("user_sessions", {"token_hash": "token"}, "ck_user_sessions_token_hash"),
        ("user_sessions", {"token_hash": SHA256.upper()}, "ck_user_sessions_token_hash"),
        ("user_sessions", {"is_active": False}, "ck_user_sessions_ended_at_set"),
        ("user_sessions", {"ended_at": NOW}, "ck_user_sessions_ended_at_set"),
        ("user_sessions", {"end_reason": "REVOKED"}, "ck_user_sessions_end_reason_of_ended"),
        ("user_sessions", {"is_active": False, "ended_at": NOW, "end_reason": "BORED"}, "ck_user_sessions_end_reason"),
        ("api_keys", {"status": "LOST"}, "ck_api_keys_status"),
        ("api_keys", {"status": "REVOKED"}, "ck_api_keys_revoked_at_set"),
        ("api_keys", {"revoked_at": NOW}, "ck_api_keys_revoked_at_set"),
        ("api_keys", {"key_hash": "secret"}, "ck_api_keys_key_hash"),
        ("api_keys", {"usage_count": -1}, "ck_api_keys_usage_count_not_negative"),
        ("api_keys", {"rate_limit": 0}, "ck_api_keys_rate_limit_positive"),
    ],
)
async def test_a_bad_row_is_refused(insert: Insert, table: str, values: dict[str, Any], constraint: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await insert(table, **values)
    assert refused.value.constraint_name == constraint


@pytest.mark.parametrize(("table", "by"), [("users", "role_revoked_by"), ("api_keys", "revoked_by")])
async def test_nobody_revokes_without_a_time(insert: Insert, table: str, by: str) -> None:
    somebody = await insert("users")
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await insert(table, **{by: somebody})
    assert refused.value.constraint_name == f"ck_{table}_{by}"


@pytest.mark.parametrize(("column", "first", "second"), [("email", "Ann@Example.com", "ann@example.COM"), ("username", "Ann", "aNN")])
async def test_names_are_unique_without_regard_to_case(
    insert: Insert, connection: asyncpg.Connection, column: str, first: str, second: str
) -> None:
    user = await insert("users", **{column: first})
    with pytest.raises(asyncpg.UniqueViolationError, match=f"uq_users_{column}"):
        async with connection.transaction():
            await insert("users", **{column: second})
    await connection.execute("update users set is_deleted = true, deleted_at = now(), status = 'DELETED' where id = $1", user)
    await insert("users", **{column: second})


async def test_emails_are_found_by_the_index(connection: asyncpg.Connection) -> None:
    await connection.execute("set local enable_seqscan = off")
    plan = await connection.fetch("explain select * from users where lower(email) = lower('Ann@example.com') and not is_deleted")
    assert "uq_users_email" in " ".join(row[0] for row in plan)


@pytest.mark.parametrize(
    ("table", "values", "constraint"),
    [
        ("roles", {"name": "BUYER"}, "uq_roles_name"),
        ("user_sessions", {"token_hash": SHA256}, "uq_user_sessions_token_hash"),
        ("api_keys", {"key_hash": SHA256}, "uq_api_keys_key_hash"),
        ("api_keys", {"key_identifier": "abc"}, "uq_api_keys_key_identifier"),
    ],
)
async def test_secrets_and_names_are_there_once(insert: Insert, table: str, values: dict[str, Any], constraint: str) -> None:
    await insert(table, **values)
    with pytest.raises(asyncpg.UniqueViolationError) as refused:
        await insert(table, **values)
    assert refused.value.constraint_name == constraint


async def test_a_permission_is_given_once_to_a_role(insert: Insert) -> None:
    role = await insert("roles")
    await insert("role_permissions", role_id=role)
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_role_permissions_role_id_resource_action"):
        await insert("role_permissions", role_id=role)


async def test_a_key_is_active_by_its_status(insert: Insert, connection: asyncpg.Connection) -> None:
    key = await insert("api_keys")
    assert await connection.fetchval("select is_active from api_keys where id = $1", key) is True
    revoked = "update api_keys set status = 'REVOKED', revoked_at = now() where id = $1 returning is_active"
    assert await connection.fetchval(revoked, key) is False


async def test_what_belongs_to_a_user_goes_with_it(insert: Insert, connection: asyncpg.Connection) -> None:
    user = await insert("users")
    await insert("user_sessions", user_id=user)
    await insert("api_keys", user_id=user)
    await connection.execute("delete from users where id = $1", user)
    assert await connection.fetchval("select count(*) from user_sessions where user_id = $1", user) == 0
    assert await connection.fetchval("select count(*) from api_keys where user_id = $1", user) == 0


async def test_users_outlive_their_role(insert: Insert, connection: asyncpg.Connection) -> None:
    role = await insert("roles")
    user = await insert("users", role_id=role)
    await connection.execute("delete from roles where id = $1", role)
    assert await connection.fetchval("select role_id from users where id = $1", user) is None


USER: dict[str, Any] = {"email": "ann@example.com", "username": "ann", "password": "correct horse"}


def refused_field(model: type[Any], **values: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        model(**values)
    return str(refused.value.errors()[0]["loc"][0])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "ann"),
        ("email", "ann@example"),
        ("email", "ann@@example.com"),
        ("email", "ann@example.com\x00"),
        ("email", f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 63}.com"),
        ("username", "an"),
        ("username", "a" * 51),
        ("username", "ann smith"),
        ("username", "ann\n"),
        ("username", "änn"),
        ("password", "1234567"),
        ("password", "a" * 129),
        ("password", "1234567\x00"),
        ("password", "1234567\ud800"),
        ("first_name", " "),
        ("last_name", "a" * 51),
        ("first_name", "Ann\x00"),
        ("phone", "0123456"),
        ("phone", "+12345678901234567"),
        ("phone", "call me"),
        ("image_url", "javascript:alert(1)"),
        ("status", "DELETED"),
        ("login_count", 5),
        ("role_id", UUID(int=1)),
    ],
)
def test_a_bad_account_is_refused(field: str, value: Any) -> None:
    assert refused_field(UserCreate, **USER | {field: value}) == field


def test_an_account() -> None:
    user = UserCreate(**USER | {"email": "Ann@EXAMPLE.com", "first_name": " Ann ", "phone": "+4915112345678"})
    assert (user.email, user.first_name, user.status) == ("Ann@example.com", "Ann", UserStatus.ACTIVE)
    assert user.password.get_secret_value() == "correct horse"


def test_passwords_show_nowhere() -> None:
    assert "correct horse" not in repr(UserCreate(**USER))
    with pytest.raises(ValidationError) as refused:
        UserCreate(**USER | {"username": "?"})
    assert "correct horse" not in str(refused.value)


def test_what_an_account_must_have_cannot_be_cleared() -> None:
    assert UserUpdate(phone=None, first_name=None).model_dump(exclude_unset=True) == {"phone": None, "first_name": None}
    for field in ("email", "username", "status"):
        assert refused_field(UserUpdate, **{field: None}) == field
    assert refused_field(UserUpdate, password="another one") == "password"


def test_email_addresses() -> None:
    assert validate_email("ann@example.com")
    assert validate_email("a.b+c@sub.example.co")
    for email in ("", "ann", "ann@", "@example.com", "a b@example.com", "ann@example"):
        assert not validate_email(email)


@pytest.mark.parametrize(("status", "active"), [(status, status == "ACTIVE") for status in UserStatus])
def test_only_active_users_are_active(status: UserStatus, active: bool) -> None:
    assert is_active_user(SimpleNamespace(status=status)) is active
    assert is_active_user(SimpleNamespace(status=status.value)) is active


KEY: dict[str, Any] = {
    "scopes": ["orders:read"],
    "name": "Export",
    "key_hash": SHA256,
    "key_identifier": "abcdefgh",
    "key_preview": "abcdefgh...",
    "user_id": UUID(int=1),
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("key_hash", "secret"),
        ("key_identifier", "short"),
        ("key_identifier", "has.a.dot"),
        ("scopes", []),
        ("scopes", ["orders"]),
        ("scopes", ["orders:read"] * 21),
        ("scopes", ["Orders:Read"]),
        ("scopes", ["orders:*"]),
        ("scopes", ["*:*"]),
        ("scopes", ["users:write"]),
        ("rate_limit", 0),
        ("expires_at", datetime(2027, 1, 1)),  # noqa: DTZ001 - the naive time is the point
    ],
)
def test_a_bad_key_is_refused(field: str, value: Any) -> None:
    assert refused_field(ApiKeyCreate, **KEY | {field: value}) == field


def test_a_key_has_a_thousand_requests_per_hour() -> None:
    key = ApiKeyCreate(**KEY | {"scopes": ["orders:write", "orders:read", "orders:write"]})
    assert (key.rate_limit, key.scopes) == (1000, ["orders:read", "orders:write"])


def test_sessions_roles_and_permissions() -> None:
    assert refused_field(UserSessionCreate, user_id=UUID(int=1), token_hash="token", expires_at=NOW) == "token_hash"
    assert refused_field(RoleCreate, name="admin", display_name="A") == "name"
    assert refused_field(RolePermissionCreate, role_id=UUID(int=1), resource="orders:read", action="*") == "resource"
    assert RolePermissionCreate(role_id=UUID(int=1), resource="*", action="*").action == "*"
