"""What the changes of rows are called for whoever keeps answers made of them: the tags of `core.tags`."""

from collections.abc import Sequence
from typing import Any

from app.core.statement import Statement
from app.core.tags import ANY, tag

MOST_NAMED = 100
"""Most rows that are named one by one when they change; of more it is told that any may have."""

TAGGED: set[str] = set()
"""The tables whose changes are told; each repository adds its own (`Repository.tagged`)."""


def changed_tags(statement: Statement, entity: str, rows: Sequence[Any]) -> list[str]:
    """The tags of what a statement of the repository of `entity` has changed: of the rows that it gave, if these are its own."""
    tags: list[str] = []
    for table in statement.writes & TAGGED:
        named = table == entity and 0 < len(rows) <= MOST_NAMED and "id" in rows[0].keys()  # noqa: SIM118 - of a record, `in` asks values
        ids = [row["id"] for row in rows] if named else [ANY]
        tags += [tag(table), *(tag(table, id) for id in ids)]
    return tags
