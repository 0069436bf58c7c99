"""Transactions, savepoints, retries, timeouts and cancellation, on real connections."""

import asyncio

import pytest
from asyncpg import exceptions as postgres
from sqlalchemy import bindparam, column, func, select, table, text

from app.core import database as database_module
from app.core.database import Database, Transaction
from app.core.errors import Conflict, ConstraintViolation, InvalidValue, Unavailable
from app.core.statement import Statement, compile_statement
from tests.serving import eventually


def sql(statement: str, *names: str) -> Statement:
    return Statement(statement, names, {})


async def count(database: Database) -> int:
    return int(await database.fetch_value(sql("select count(*) from config"), {}))


async def add(session: Database | Transaction, key: str) -> None:
    await session.fetch(sql("insert into config (key, value) values ($1, '1'::jsonb)", "key"), {"key": key})


def test_a_statement_binds_by_name_and_keeps_what_was_fixed() -> None:
    users = table("users", column("id"), column("name"))
    statement = compile_statement(select(users).where(users.c.id == bindparam("id"), users.c.name == "fixed").limit(3))
    assert statement.arguments({"id": 7, "unused": 1}) == [7, "fixed", 3]


async def test_rows_have_attributes(database: Database) -> None:
    row = await database.fetch_row(compile_statement(select(func.now().label("at"))), {})
    assert row is not None
    assert row.at.tzinfo is not None
    with pytest.raises(AttributeError):
        _ = row.missing


async def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError):
        async with database.transaction() as transaction:
            await add(transaction, "lost")
            raise RuntimeError("stop")
    assert await count(database) == 0


async def test_a_savepoint_undoes_its_own_work_and_callbacks_alone(database: Database) -> None:
    told: list[str] = []

    async def tell(word: str) -> None:
        told.append(word)

    async with database.transaction() as transaction:
        await add(transaction, "kept")
        transaction.after_commit(lambda: tell("outer"))
        with pytest.raises(ConstraintViolation):
            async with transaction.savepoint():
                transaction.after_commit(lambda: tell("inner"))
                await add(transaction, "also")
                await add(transaction, "kept")
        assert told == []
    assert told == ["outer"]
    assert await count(database) == 1


async def test_a_failing_callback_does_not_undo_or_stop_the_others(database: Database) -> None:
    told: list[int] = []

    async def fail() -> None:
        raise ValueError("cache away")

    async def tell() -> None:
        told.append(1)

    async with database.transaction() as transaction:
        await add(transaction, "kept")
        transaction.after_commit(fail)
        transaction.after_commit(tell)
    assert told == [1]
    assert await count(database) == 1


async def test_serialization_failures_are_retried_until_all_succeed(database: Database) -> None:
    await database.fetch(sql("insert into config (key, value) values ('counter', '0'::jsonb)"), {})

    async def increment(transaction: Transaction) -> None:
        await transaction.fetch(sql("set transaction isolation level repeatable read"), {})
        value = await transaction.fetch_value(sql("select value::text::int from config where key = 'counter'"), {})
        await transaction.fetch(sql("update config set value = to_jsonb($1::int) where key = 'counter'", "next"), {"next": value + 1})

    results = await asyncio.gather(*(database.retry(increment) for _ in range(4)), return_exceptions=True)
    done = sum(result is None for result in results)
    assert done + sum(isinstance(result, Conflict) for result in results) == 4
    assert done >= 3
    assert await database.fetch_value(sql("select value::text::int from config where key = 'counter'"), {}) == done


async def test_a_deadlock_is_resolved_by_a_retry(database: Database) -> None:
    for key in ("a", "b"):
        await add(database, key)
    both_hold_one = asyncio.Barrier(2)
    attempts = 0

    async def cross(transaction: Transaction, first: str, second: str) -> None:
        nonlocal attempts
        attempts += 1
        touch = sql("update config set description = 'x' where key = $1", "key")
        await transaction.fetch(touch, {"key": first})
        if attempts <= 2:
            await both_hold_one.wait()
        await transaction.fetch(touch, {"key": second})

    await asyncio.gather(database.retry(lambda tx: cross(tx, "a", "b")), database.retry(lambda tx: cross(tx, "b", "a")))
    assert attempts == 3


async def test_waiting_for_a_lock_ends_in_a_conflict(database: Database) -> None:
    await add(database, "held")
    touch = sql("update config set description = 'x' where key = 'held'")
    async with database.transaction() as holder:
        await holder.fetch(touch, {})
        with pytest.raises(Conflict):
            await database.fetch(touch, {})


async def test_a_slow_statement_is_ended(database: Database) -> None:
    with pytest.raises(Unavailable):
        await database.fetch(sql("select pg_sleep(10)"), {})
    await database.ping()


async def test_cancellation_leaves_no_transaction_open(database: Database) -> None:
    started = asyncio.Event()

    async def work() -> None:
        async with database.transaction() as transaction:
            await add(transaction, "cancelled")
            started.set()
            await transaction.fetch(sql("select pg_sleep(1)"), {})

    task = asyncio.create_task(work())
    await started.wait()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    open_ones = sql("select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'")
    assert await database.fetch_value(open_ones, {}) == 0
    assert await count(database) == 0


async def test_values_that_no_column_holds_are_named_as_such(database: Database) -> None:
    with pytest.raises(InvalidValue):
        await database.fetch(sql("select $1::text", "value"), {"value": "\0"})
    with pytest.raises(InvalidValue):
        await database.fetch(sql("select $1::int", "value"), {"value": 2**40})


async def test_a_closed_or_absent_database_is_unavailable() -> None:
    absent = Database("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(Unavailable):
        await absent.ping()
    await absent.open()
    with pytest.raises(Unavailable):
        await absent.ping()
    await absent.close()


async def test_json_survives_the_round_trip(database: Database) -> None:
    value = {"text": "ünï", "number": 1.5, "list": [None, True]}
    statement = compile_statement(select(text("cast(:value as jsonb)").bindparams(value=value)))
    assert await database.fetch_value(statement, {"value": value}) == value


async def test_statements_that_often_run_are_prepared_once(database: Database) -> None:
    text = "select to_json($1::int)"
    assert [await database.compose(text, [number]) for number in range(3)] == [[(b"0",)], [(b"1",)], [(b"2",)]]
    named = "select count(*) from pg_prepared_statements where statement = $1"
    assert await database.fetch_value(sql(named, "text"), {"text": text}) == 1
    with pytest.raises(InvalidValue):
        await database.compose(text, [2**40])
    async with database.transaction() as transaction:
        assert await transaction.compose(text, [4]) == [(b"4",)]


async def test_what_was_prepared_is_prepared_anew_where_its_table_has_changed(database: Database) -> None:
    await database.fetch(sql("create table changing (value text)"), {})
    await database.fetch(sql("insert into changing values ('1')"), {})
    text = "select value from changing"
    assert await database.compose(text, []) == [("1",)]
    await database.fetch(sql("alter table changing alter value type int using value::int"), {})
    with pytest.raises(postgres.PostgresError):
        await database.compose(text, [])
    assert await database.compose(text, []) == [(1,)]


async def test_few_statements_stay_prepared(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "MOST_PREPARED", 3)
    for number in (*range(6), 0):
        assert await database.compose(f"select {number}", []) == [(number,)]
    kept = "select count(*) from pg_prepared_statements where statement like 'select _'"
    assert await database.fetch_value(sql(kept), {}) <= 4


@pytest.mark.parametrize("method", ["fetch_value", "compose"])
async def test_statements_cancelled_at_any_moment_leave_nothing_to_the_next(database_url: str, method: str) -> None:
    """Between parsing and running the server waits for the caller, and its clock ticks: the timeout would hit the next statement."""
    database, witness = Database(database_url), Database(database_url)
    await database.open()
    await witness.open()
    tasks: list[asyncio.Task[None]] = []

    async def first_cancels_the_others(text: str) -> None:
        await (database.compose(text, ()) if method == "compose" else database.fetch_value(Statement(text, (), {}), {}))
        for task in tasks:
            if task is not asyncio.current_task():
                task.cancel()

    busy = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'"

    async def nobody_is_busy() -> bool:
        """At once, but for a server that still writes down what it has stopped; what is left over stays."""
        return bool(await witness.fetch_value(Statement(busy, (), {}), {}) == 0)

    for number in range(100):
        tasks[:] = [asyncio.create_task(first_cancels_the_others(f"select {number}, {n}")) for n in range(8)]
        await asyncio.wait(tasks)
        await eventually(nobody_is_busy, 2)
    await database.close()
    await witness.close()
