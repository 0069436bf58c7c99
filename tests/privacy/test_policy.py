"""The policy says of every table and column what becomes of it."""

from enum import StrEnum
from typing import Any, get_args

import pytest
from sqlalchemy import Table
from sqlmodel import SQLModel

import app.repositories  # noqa: F401 - all models are known
from app.analytics.models import TABLES as EVENT_TABLES
from app.orders.models.mirror import MIRROR, MIRROR_COLUMNS
from app.privacy.policy import CLICKHOUSE, POLICIES, USER, Clear, Erase
from app.privacy.repository.erasing import erasing, forgetting

TABLES: dict[str, Table] = dict(SQLModel.metadata.tables)
MODELS: dict[str, Any] = {str(mapper.local_table): mapper.class_ for mapper in SQLModel._sa_registry.mappers}
NOT_PERSONAL = {"id", "store_id", "event_type", "timestamp", "received_at", "is_error", "source"}
"""What an event keeps."""

WORK = {"inventory_movements", "account_erasures"}
"""Tables whose `user_id` says who did something, not whose it is."""


def speaks(table: Table) -> set[str]:
    """The columns in which anything could be written: no choices, no currencies."""
    fields = MODELS[table.name].model_fields if table.name in MODELS else {}
    choices = {name for name, field in fields.items() if _is_choice(field.annotation)} | {"currency"}
    kinds = (object, str, dict, list, bytes)  # that of SQLModel's texts is object
    return {column.name for column in table.c if column.type.python_type in kinds and column.name not in choices}


def _is_choice(annotation: Any) -> bool:
    return any(isinstance(kind, type) and issubclass(kind, StrEnum) for kind in (annotation, *get_args(annotation)))


def test_every_table_has_a_policy() -> None:
    assert sorted(POLICIES) == sorted(TABLES)


@pytest.mark.parametrize("name", POLICIES)
def test_every_column_that_can_tell_of_a_person_is_cleared_or_kept_for_a_reason(name: str) -> None:
    table, policy = TABLES[name], POLICIES[name]
    if any(isinstance(rule, Erase) and rule.unless is None for rule in policy.rules):
        return
    cleared = {column for rule in policy.rules if isinstance(rule, Clear) for column in rule.columns}
    assert speaks(table) == (cleared & speaks(table)) | {*policy.kept, *policy.mentions}
    assert not cleared & {*policy.kept}
    assert policy.why or not policy.kept
    assert cleared | {*policy.kept, *policy.mentions, *policy.secret} <= set(table.c.keys())


def test_rows_that_say_whose_they_are_are_the_persons_own() -> None:
    """Other references to accounts stay, since the account says nothing any more."""
    for name, table in TABLES.items():
        assert ("user_id" in table.c and name not in WORK) == (POLICIES[name].own == USER), name


@pytest.mark.parametrize("name", POLICIES)
def test_the_statements_of_a_policy_are_of_its_table(name: str) -> None:
    for rule in POLICIES[name].rules:
        assert erasing(name, rule).table is TABLES[name]
    if POLICIES[name].mentions:
        assert forgetting(name, POLICIES[name]).table is TABLES[name]


def test_every_column_of_clickhouse_is_cleared_or_not_personal() -> None:
    tables = {**EVENT_TABLES, MIRROR: MIRROR_COLUMNS}
    stay = {"user_events": NOT_PERSONAL, MIRROR: set(MIRROR_COLUMNS)}
    assert set(CLICKHOUSE) == set(tables)
    for name, cleared in CLICKHOUSE.items():
        assert set(tables[name]) == cleared | stay[name]
