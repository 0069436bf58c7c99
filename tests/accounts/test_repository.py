"""Rules of accounts that live in statements: roles, sessions, keys, and the ends of accounts."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from pydantic import ValidationError

from app.accounts.models import ApiKeyStatus, Role, RoleCreate, User, UserSession, UserStatus
from app.accounts.repository import RoleRepository
from app.core.errors import BadInput, NotFound, UserError
from app.core.security import ANONYMOUS, Viewer, ViewerKind
from app.repositories import Repositories


async def named(roles: RoleRepository, name: str) -> Role:
    role = await roles.find_by_name(name)
    assert role is not None
    return role


async def test_permissions_come_with_the_ancestors(repositories: Repositories) -> None:
    roles = repositories.roles
    analyst = await named(roles, "ANALYST")
    assert [role.name for role in await roles.get_role_hierarchy(analyst.id)] == ["USER", "VIEWER", "ANALYST"]
    permissions = await roles.get_all_permissions(analyst.id)
    assert {"analytics:read", "orders:read"} <= permissions
    assert "*:*" not in permissions
    assert await roles.has_permission(analyst.id, "orders", "read")
    viewer = await named(roles, "VIEWER")
    await roles.update_by_id(viewer.id, {"is_active": False})
    assert "orders:read" not in await roles.get_all_permissions(analyst.id)


async def test_a_role_cannot_become_its_own_ancestor(repositories: Repositories) -> None:
    roles = repositories.roles
    viewer, analyst, user = [await named(roles, name) for name in ("VIEWER", "ANALYST", "USER")]
    results = await asyncio.gather(
        roles.update_hierarchy(viewer.id, analyst.id), roles.update_hierarchy(user.id, analyst.id), return_exceptions=True
    )
    assert all(isinstance(result, Exception) for result in results)
    assert (await roles.update_hierarchy(analyst.id, user.id)).parent_role_id == user.id


async def test_a_stored_cycle_ends_where_it_closes(repositories: Repositories) -> None:
    roles = repositories.roles
    user, admin = await named(roles, "USER"), await named(roles, "ADMIN")
    await roles.update_by_id(user.id, {"parent_role_id": admin.id})
    assert len(await roles.get_role_hierarchy(admin.id)) == 4
    assert "*:*" in await roles.get_all_permissions(user.id)


async def test_keys_are_counted_in_batches_and_stay_revoked(repositories: Repositories) -> None:
    user = await repositories.users.create({"email": "a@example.com", "username": "anna"})
    keys = [
        await repositories.api_keys.create(
            {"user_id": user.id, "name": f"key {n}", "key_hash": f"{n:064x}", "key_identifier": f"identifier{n}", "key_preview": "id..."}
        )
        for n in range(2)
    ]
    assert await repositories.api_keys.batch_increment_usage_count({keys[0].id: 3, keys[1].id: 1}) == 2
    await repositories.api_keys.increment_usage(keys[0].id)
    found = await repositories.api_keys.find_by_hash(f"{0:064x}")
    assert found is not None
    assert (found.usage_count, found.last_used_at is not None) == (4, True)
    revoked = await repositories.api_keys.update_status(keys[0].id, ApiKeyStatus.REVOKED, user.id)
    again = await repositories.api_keys.update_status(keys[0].id, ApiKeyStatus.REVOKED)
    assert (again.revoked_at, again.revoked_by) == (revoked.revoked_at, user.id)
    assert await repositories.api_keys.find_by_hash(f"{0:064x}") is None
    past = repositories.now() - timedelta(days=1)
    await repositories.api_keys.update_by_id(keys[1].id, {"expires_at": past})
    assert await repositories.api_keys.find_active_by_user(user.id) == []
    assert await repositories.api_keys.get_api_key_stats() == {"total": 2, "active": 0, "revoked": 1, "expired": 1}
    assert [await repositories.api_keys.expire_late() for _ in range(2)] == [1, 0]
    assert (await repositories.api_keys.get_by_id(keys[1].id)).status == "EXPIRED"
    assert await repositories.api_keys.get_api_key_stats() == {"total": 2, "active": 0, "revoked": 1, "expired": 1}
    assert await repositories.api_keys.revoke_by_user(user.id) == 1
    assert (await repositories.api_keys.get_by_id(keys[0].id)).revoked_by == user.id


async def test_an_inactive_role_ends_the_line(repositories: Repositories) -> None:
    roles = repositories.roles
    viewer, analyst = await named(roles, "VIEWER"), await named(roles, "ANALYST")
    await repositories.role_permissions.create({"role_id": (await named(roles, "USER")).id, "resource": "carts", "action": "share"})
    assert await roles.has_permission(analyst.id, "carts", "share")
    await roles.update_by_id(viewer.id, {"is_active": False})
    assert not await roles.has_permission(analyst.id, "carts", "share")
    await roles.update_by_id(analyst.id, {"is_active": False})
    assert await roles.get_all_permissions(analyst.id) == frozenset()


async def test_a_permission_with_conditions_is_not_always_held(repositories: Repositories) -> None:
    user = await named(repositories.roles, "USER")
    given = {"role_id": user.id, "resource": "orders", "action": "read", "conditions": {"days": ["MON"]}}
    row = await repositories.role_permissions.create(given)
    assert row.conditions == [{"days": ["MON"]}]
    assert await repositories.roles.get_all_permissions(user.id) == frozenset()


async def test_conditions_are_checked_when_a_permission_is_written(repositories: Repositories) -> None:
    user = await named(repositories.roles, "USER")
    given = {"role_id": user.id, "resource": "orders", "action": "read", "conditions": {"own": True}}
    for write in (repositories.role_permissions.create(given), repositories.role_permissions.create_many([given])):
        with pytest.raises(ValidationError, match=r"conditions\.0\.own"):
            await write
    assert await repositories.role_permissions.find_by_role_id(user.id) == []


async def test_a_role_is_cloned_with_its_own_permissions(repositories: Repositories) -> None:
    roles, permissions = repositories.roles, repositories.role_permissions
    viewer = await named(roles, "VIEWER")
    clone = await roles.clone_role(viewer.id, RoleCreate(name="GUEST_VIEWER", display_name="Guest"))
    assert (clone.level, clone.category, clone.parent_role_id) == (viewer.level, viewer.category, None)
    own = {(one.resource, one.action) for one in await permissions.find_by_role_id(viewer.id)}
    assert own == {(one.resource, one.action) for one in await permissions.find_by_role_id(clone.id)}
    assert await permissions.remove_permission(clone.id, "orders", "read")
    assert not await permissions.remove_permission(clone.id, "orders", "read")
    assert await permissions.has_permission(viewer.id, "orders", "read")
    with pytest.raises(UserError) as error:
        await roles.clone_role(viewer.id, RoleCreate(name="GUEST_VIEWER", display_name="Guest"))
    assert error.value.code == "TAKEN"


async def session_of(repositories: Repositories, user: User, digit: str) -> UserSession:
    expires_at = repositories.now() + timedelta(hours=1)
    return await repositories.user_sessions.create({"user_id": user.id, "token_hash": digit * 64, "expires_at": expires_at})


async def test_a_closed_account_frees_its_email_and_ends_its_sessions_and_keys(repositories: Repositories) -> None:
    users = repositories.users
    anna = await users.create({"email": "Anna@example.com", "username": "anna"})
    session = await session_of(repositories, anna, "a")
    key = {"user_id": anna.id, "name": "robot", "key_hash": "a" * 64, "key_identifier": "identifier", "key_preview": "id..."}
    await repositories.api_keys.create(key)
    closed = await users.soft_delete(anna.id, deleted_by=anna.id)
    assert await repositories.api_keys.get_api_key_stats() == {"total": 1, "active": 0, "revoked": 1, "expired": 0}
    assert (closed.status, closed.is_deleted, closed.updated_by) == ("DELETED", True, anna.id)
    assert (await repositories.user_sessions.get_by_id(session.id)).end_reason == "ACCOUNT_CLOSED"
    assert await users.find_by_email("anna@example.com") is None
    assert (await users.find_by_email("ANNA@EXAMPLE.COM", include_deleted=True) or closed).id == anna.id
    second = await users.create({"email": "anna@example.com", "username": "Anna"})
    assert (await users.find_by_username("ANNA", include_deleted=True) or closed).id == second.id
    with pytest.raises(UserError):
        await users.restore(anna.id)
    await users.soft_delete(second.id)
    assert (await users.restore(anna.id)).status == "INACTIVE"
    assert await users.get_user_stats() == {
        "total": 2, "active": 0, "banned": 0, "inactive": 1, "deleted": 1, "verified_emails": 0, "verified_phones": 0,
    }  # fmt: skip


async def test_a_batch_bans_whom_it_finds(repositories: Repositories) -> None:
    users = repositories.users
    anna, bert = [await users.create({"email": f"{name}@example.com", "username": name}) for name in ("anna", "bert")]
    session, nobody = await session_of(repositories, anna, "a"), uuid4()
    done = await users.batch_update_status([anna.id, nobody, bert.id], UserStatus.BANNED, anna.id)
    assert (set(done.changed), done.missing) == ({anna.id, bert.id}, (nobody,))
    assert [user.username for user in await users.find_by_status(UserStatus.BANNED)] == ["bert", "anna"]
    assert not (await repositories.user_sessions.get_by_id(session.id)).is_active
    with pytest.raises(BadInput):
        await users.batch_update_status([anna.id], UserStatus.DELETED)


async def test_a_session_is_stamped_once_a_minute_and_found_by_one_statement(repositories: Repositories) -> None:
    sessions, idle = repositories.user_sessions, timedelta(hours=4)
    analyst = await named(repositories.roles, "ANALYST")
    anna = await repositories.users.create({"email": "a@example.com", "username": "anna", "role_id": analyst.id})
    session = await session_of(repositories, anna, "a")
    holder = await sessions.find_holder("a" * 64, idle)
    assert holder is not None
    assert (holder.id, holder.user_id, holder.untouched, holder.expires_at) == (session.id, anna.id, False, session.expires_at)
    assert frozenset(holder.permissions) == await repositories.roles.get_all_permissions(analyst.id)

    await sessions.update_last_activity(session.id)
    assert (await sessions.get_by_id(session.id)).last_accessed_at == session.last_accessed_at
    await sessions.update_by_id(session.id, {"last_accessed_at": session.last_accessed_at - timedelta(minutes=2)})
    found = await sessions.find_holder("a" * 64, idle)
    assert found is not None
    assert found.untouched
    await sessions.update_last_activity(session.id)
    assert (await sessions.get_by_id(session.id)).last_accessed_at >= session.last_accessed_at

    ends = repositories.now() + timedelta(minutes=1)
    await repositories.users.update_role(anna.id, analyst.id, None, expires_at=ends)
    assert (await sessions.find_holder("a" * 64, idle)).expires_at == ends  # type: ignore[union-attr]


async def test_late_sessions_are_found_and_ended(repositories: Repositories) -> None:
    sessions = repositories.user_sessions
    anna = await repositories.users.create({"email": "a@example.com", "username": "anna"})
    late, live = await session_of(repositories, anna, "a"), await session_of(repositories, anna, "b")
    await sessions.update_by_id(late.id, {"expires_at": repositories.now() - timedelta(seconds=1)})
    assert [one.id for one in await sessions.find_expired()] == [late.id]
    assert [one.id for one in await sessions.find_active_by_user_id(anna.id)] == [live.id]
    assert await sessions.cleanup_expired_sessions() == 1
    assert (await sessions.get_by_id(late.id)).end_reason == "EXPIRED"
    assert await sessions.cleanup_expired_sessions() == 0


async def test_staff_who_may_read_users_see_those_of_their_store(repositories: Repositories) -> None:
    stores = [await repositories.stores.create({"name": f"Tea {n}", "domain": f"tea{n}.example.com"}) for n in range(2)]
    anna, bert, carl = [
        await repositories.users.create({"email": f"{name}@example.com", "username": name, "store_id": store.id})
        for name, store in (("anna", stores[0]), ("bert", stores[0]), ("carl", stores[1]))
    ]
    staff = repositories.scoped(Viewer(ViewerKind.STAFF, anna.id, stores[0].id, permissions=frozenset({"users:read"})))
    packer = repositories.scoped(Viewer(ViewerKind.STAFF, anna.id, stores[0].id, permissions=frozenset({"orders:write"})))
    shopper = repositories.scoped(Viewer(ViewerKind.SHOPPER, anna.id, stores[0].id))
    for viewer, seen in ((staff, ["anna", "bert", None]), (packer, ["anna", None, None]), (shopper, ["anna", None, None])):
        found = await viewer.users.find_by_ids([anna.id, bert.id, carl.id])
        assert [user and user.username for user in found] == seen
    assert await repositories.scoped(ANONYMOUS).users.count() == 0
    for viewer in (staff, shopper):
        with pytest.raises(NotFound):
            await viewer.users.update_by_id(carl.id, {"username": "karl"})


async def test_a_newer_password_is_not_undone(repositories: Repositories) -> None:
    anna = await repositories.users.create({"email": "a@example.com", "username": "anna", "password_hash": "second"})
    assert not await repositories.users.replace_password_hash(anna.id, "first", "third")
    assert await repositories.users.replace_password_hash(anna.id, "second", "third")
    assert (await repositories.users.get_by_id(anna.id)).password_hash == "third"
