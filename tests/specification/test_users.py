"""User management, and the service over it that counts sign-ins."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app.accounts.models import Role, User, UserCreate, UserSession, UserSessionCreate
from app.accounts.passwords import PasswordHasher
from app.core.metrics import Metrics
from app.core.paging import NEWEST_FIRST
from app.core.security import new_token, token_hash
from app.repositories import Repositories
from app.stores.models import Store
from tests.serving import SIGN_IN, SIGN_UP
from tests.specification.conftest import PASSWORD, World, global_id
from tests.specification.contents import GRAPHQL, operation


async def create_user(factory: Repositories, passwords: PasswordHasher, **request: Any) -> User:
    account = UserCreate.model_validate({**request, "status": "ACTIVE", "email_verified": False, "phone_verified": False})
    return await factory.users.create_account(account, await passwords.hash(account.password.get_secret_value()))


async def authenticate_user(factory: Repositories, passwords: PasswordHasher, email: str, password: str) -> UserSession | None:
    user = await factory.users.find_by_email(email)
    if user is None or not await passwords.verify(password, user.password_hash):
        return None
    session = await factory.user_sessions.create(
        UserSessionCreate(
            user_id=user.id,
            token_hash=token_hash(new_token()),
            ip_address="192.0.2.1",
            user_agent="test",
            expires_at=factory.now() + timedelta(hours=24),
        )
    )
    await factory.users.update_last_login(user.id, user.password_hash)
    return session


async def get_user_profile(factory: Repositories, user_id: UUID) -> tuple[User, Role | None, Store | None, UserSession | None]:
    user = await factory.users.get_by_id(user_id)
    role = await factory.roles.find_by_id(user.role_id) if user.role_id else None
    store = await factory.stores.find_by_id(user.store_id) if user.store_id else None
    latest = await factory.user_sessions.find_first({"user_id": user.id, "is_active": True}, NEWEST_FIRST)
    return user, role, store, latest


def person(world: World) -> dict[str, str]:
    name = f"robin{world.number()}"
    return {"email": f"{name}@example.com", "username": name, "password": PASSWORD}


@operation("createUser")
async def test_create_user(world: World) -> None:
    user = await create_user(world.factory, world.passwords, **person(world), first_name="Robin", last_name="Lee")
    row = await world.row("users", user.id)
    assert (row["email"], row["first_name"], row["status"], row["login_count"]) == (user.email, "Robin", "ACTIVE", 0)
    assert not row["email_verified"]
    assert not row["phone_verified"]
    assert not row["is_deleted"]
    assert row["password_hash"].startswith("$argon2id$")


@operation("createUser", GRAPHQL)
@operation("UserCreateInput", GRAPHQL)
async def test_create_user_over_graphql(world: World) -> None:
    input = {**person(world), "firstName": "Robin"}
    answer = (await world.visitor.ask(SIGN_UP, input=input))["signUp"]
    assert answer["userErrors"] == []
    row = await world.found("select * from users where email = $1", input["email"])
    assert (row["username"], row["first_name"], row["status"]) == (input["username"], "Robin", "ACTIVE")
    assert row["password_hash"].startswith("$argon2id$")


@operation("UserCreateInput")
async def test_the_input_of_a_user_leaves_out_what_is_not_its_senders(world: World) -> None:
    assert not {"id", "created_at", "updated_at", "login_count"} & UserCreate.model_fields.keys()
    with pytest.raises(ValueError, match="login_count"):
        UserCreate.model_validate({**person(world), "login_count": 5})


@operation("authenticateUser")
async def test_authenticate_user(world: World) -> None:
    user = await world.user()
    assert await authenticate_user(world.factory, world.passwords, user.email, "wrong") is None
    assert await authenticate_user(world.factory, world.passwords, "nobody@example.com", PASSWORD) is None
    assert (await world.row("users", user.id))["login_count"] == 0

    session = await authenticate_user(world.factory, world.passwords, user.email, PASSWORD)
    assert session is not None
    row, owner = await world.row("user_sessions", session.id), await world.row("users", user.id)
    assert (row["user_id"], row["is_active"], row["ip_address"]) == (user.id, True, "192.0.2.1")
    assert (owner["login_count"], owner["last_login_at"] is not None) == (1, True)


@operation("authenticateUser", GRAPHQL)
async def test_authenticate_user_over_graphql(world: World) -> None:
    user = await world.user()
    wrong = (await world.visitor.ask(SIGN_IN, input={"email": user.email, "password": "wrong"}))["signIn"]
    assert (wrong["session"], wrong["userErrors"][0]["code"]) == (None, "INVALID_CREDENTIALS")
    session = (await world.visitor.ask(SIGN_IN, input={"email": user.email, "password": PASSWORD}))["signIn"]["session"]
    row = await world.found("select * from user_sessions where user_id = $1", user.id)
    assert row["token_hash"] == token_hash(session["token"])
    assert (await world.row("users", user.id))["login_count"] == 1


@operation("getUserProfile")
async def test_get_user_profile(world: World) -> None:
    user, store = await world.user(), await world.store()
    found_role = await world.factory.roles.find_by_name("ADMIN")
    assert found_role is not None
    await world.factory.users.update_role(user.id, found_role.id, None)
    await world.factory.users.update_by_id(user.id, {"store_id": store.id})
    sessions = [await authenticate_user(world.factory, world.passwords, user.email, PASSWORD) for _ in range(3)]
    assert sessions[2] is not None
    await world.factory.user_sessions.invalidate_session(sessions[2].id)

    profile, role, at, latest = await get_user_profile(world.factory, user.id)

    assert (profile.email, profile.login_count) == (user.email, 3)
    assert role is not None
    assert role.name == "ADMIN"
    assert at is not None
    assert at.id == store.id
    assert latest is not None
    assert sessions[1] is not None
    assert latest.id == sessions[1].id


@operation("getUserProfile", GRAPHQL)
async def test_get_user_profile_over_graphql(world: World) -> None:
    caller, user = await world.caller()
    store = await world.store()
    await world.factory.users.update_by_id(user.id, {"store_id": store.id})
    query = """{ me { id email store { id } role { name } }
        sessions(first: 1, filter: { isActive: { eq: true } }, orderBy: { field: CREATED_AT, direction: DESC }) { nodes { isActive } } }"""
    found = await caller.ask(query)
    assert found["me"] == {"id": global_id(user), "email": user.email, "store": {"id": global_id(store)}, "role": None}
    assert found["sessions"]["nodes"] == [{"isActive": True}]


class UserService:
    """The specification's service: repositories and metrics are given to it."""

    def __init__(self, factory: Repositories, passwords: PasswordHasher, metrics: Metrics) -> None:
        self.factory = factory
        self.passwords = passwords
        self.metrics = metrics

    async def authenticate_user(self, email: str, password: str) -> UserSession:
        with self.metrics.authentication_seconds.time():
            session = await authenticate_user(self.factory, self.passwords, email, password)
        self.metrics.logins.labels("failure" if session is None else "success").inc()
        if session is None:
            raise PermissionError("invalid credentials")
        return session


LOGINS = 'user_logins_total{{result="{}"}}'.format


@operation("UserService.authenticateUser")
async def test_the_user_service_counts_and_times_sign_ins(world: World) -> None:
    metrics, user = Metrics(), await world.user()
    service = UserService(world.factory, world.passwords, metrics)
    session = await service.authenticate_user(user.email, PASSWORD)
    assert (await world.row("user_sessions", session.id))["user_id"] == user.id
    with pytest.raises(PermissionError):
        await service.authenticate_user(user.email, "wrong")
    said = metrics.render().decode()
    assert f"{LOGINS('success')} 1.0" in said
    assert f"{LOGINS('failure')} 1.0" in said
    assert "user_authentication_seconds_count 2.0" in said


@operation("UserService.authenticateUser", GRAPHQL)
async def test_sign_ins_over_graphql_are_counted_and_timed(world: World) -> None:
    async def counted() -> dict[str, float]:
        lines = (await world.visitor.http.get("/metrics")).text.splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line.startswith("user_"))}

    user, before = await world.user(), await counted()
    await world.visitor.ask(SIGN_IN, input={"email": user.email, "password": PASSWORD})
    await world.visitor.ask(SIGN_IN, input={"email": user.email, "password": "wrong"})
    after = await counted()
    grown = {
        name: after[name] - before.get(name, 0) for name in (LOGINS("success"), LOGINS("failure"), "user_authentication_seconds_count")
    }
    assert list(grown.values()) == [1, 1, 2]
