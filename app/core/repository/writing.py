"""Changes to rows: single ones, and all that match a filter."""

from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import bindparam, delete, func, insert, literal_column, select, text, update

from app.core.errors import NotFound, StaleVersion
from app.core.filtering import compose
from app.core.repository.scoped import M, Scoped, Where
from app.core.repository.values import as_values, prefixed


class Writing(Scoped[M]):
    """Creates, changes and removes rows, each method by one statement."""

    async def create(self, values: BaseModel | Mapping[str, Any]) -> M:
        """Insert one row and return it; what is not given, or None where the column takes no null, is the database's default."""
        given = {name: value for name, value in as_values(values).items() if value is not None or self.columns[name].nullable}
        statement = self.statement(
            ("create", tuple(given)),
            lambda: insert(self.table).values({name: self._parameter(name) for name in given}).returning(*self.table.c),
        )
        row = await self.row(statement, **prefixed(given))
        assert row is not None
        return row

    async def create_many(self, rows: Sequence[BaseModel | Mapping[str, Any]]) -> list[M]:
        """Insert rows of one shape with a single statement: all of them or none."""
        given = [as_values(row) for row in rows]
        if not given:
            return []
        names = tuple(given[0])
        statement = self.statement(("create_many", names), lambda: self._insert_many(names))
        return await self.rows(statement, records=given)

    async def update_by_id(self, id: UUID, values: BaseModel | Mapping[str, Any], *, version: int | None = None) -> M:
        """Change the given fields of one row and return it. Raises `NotFound`; `StaleVersion` when `version` is not the row's."""
        given = as_values(values)
        statement = self.statement(
            ("update_by_id", tuple(given), version is not None), lambda: self._update_statement(given, with_version=version is not None)
        )
        row = await self.row(statement, id=id, version=version, **prefixed(given))
        if row is None:
            await self._explain_missing(id, version)
        else:
            await self._changed(id)
        return cast(M, row)

    async def update_many(self, where: Where, values: BaseModel | Mapping[str, Any]) -> int:
        """Change all rows that match; returns how many."""
        given = as_values(values)
        reader, shape = self._filter(where)
        statement = self.statement(
            ("update_many", tuple(given), shape),
            lambda: (
                update(self.table)
                .where(self.visible(self.table, writing=True), compose(shape, self.table))
                .values(self._assignments(given))
                .returning(*self._changed_columns())
            ),
        )
        changed = await self.rows(statement, **prefixed(given), **reader.values)
        await self._changed(*(row.id for row in changed))  # type: ignore[attr-defined]
        return len(changed)

    async def delete_by_id(self, id: UUID) -> bool:
        """Remove one row, softly where the model is soft-deletable; returns whether there was one."""
        return await self.delete_many({"id": id}) == 1

    async def delete_many(self, where: Where) -> int:
        """Remove all rows that match, softly where the model is soft-deletable; returns how many."""
        if "is_deleted" in self.columns:
            return await self.update_many(where, self._deletion())
        reader, shape = self._filter(where)
        statement = self.statement(
            ("delete_many", shape),
            lambda: (
                delete(self.table)
                .where(self.visible(self.table, writing=True), compose(shape, self.table))
                .returning(*self._changed_columns())
            ),
        )
        gone = await self.rows(statement, **reader.values)
        await self._changed(*(row.id for row in gone))  # type: ignore[attr-defined]
        return len(gone)

    async def soft_delete(self, id: UUID) -> M:
        """Hide one row; raises `NotFound`."""
        return await self.update_by_id(id, self._deletion())

    async def restore(self, id: UUID) -> M:
        """Show a hidden row again; raises `NotFound` where nothing is hidden under this id."""
        given = self._restoration()
        statement = self.statement(
            "restore",
            lambda: (
                update(self.table)
                .where(self.table.c.id == bindparam("id"), self.table.c.is_deleted, self.visible(self.table, deleted=True, writing=True))
                .values(self._assignments(given))
                .returning(*self.table.c)
            ),
        )
        row = await self.row(statement, id=id, **prefixed(given))
        if row is None:
            raise NotFound(f"no deleted {self.model.__name__} has this id")
        await self._changed(id)
        return row

    # --- What a model adds to deletion

    def _deletion(self) -> dict[str, Any]:
        return {"is_deleted": True, "deleted_at": self.repositories.now(), **self._status(deleted=True)}

    def _restoration(self) -> dict[str, Any]:
        return {"is_deleted": False, "deleted_at": None, **self._status(deleted=False)}

    def _status(self, *, deleted: bool) -> dict[str, str]:
        """The status that goes with deletion; nothing for models that know none."""
        field = self.model.model_fields.get("status")
        knows = field is not None and "DELETED" in getattr(field.annotation, "__members__", {})
        return {"status": "DELETED" if deleted else "ACTIVE"} if knows else {}

    # --- Composing

    def _changed_columns(self) -> list[Any]:
        """What statements say of the rows that they change, where nobody asks for all of them."""
        return [self.table.c[name] for name in dict.fromkeys(("id", self.announces.column if self.announces else "id"))]

    def _parameter(self, name: str) -> Any:
        return bindparam(f"v_{name}", type_=self.columns[name].type)

    def _assignments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        assigned = {name: self._parameter(name) for name in given}
        if "updated_at" in self.columns and "updated_at" not in given:
            assigned["updated_at"] = func.now()
        return assigned

    def _update_statement(self, given: Mapping[str, Any], *, with_version: bool) -> Any:
        condition = [self.table.c.id == bindparam("id"), self.visible(self.table, writing=True)]
        assigned = self._assignments(given)
        if with_version:
            condition.append(self.table.c.version == bindparam("version"))
            assigned["version"] = self.table.c.version + 1
        return update(self.table).where(*condition).values(assigned).returning(*self.table.c)

    def _insert_many(self, names: Sequence[str]) -> Any:
        """One text whatever the number of rows: the rows travel as one JSON array."""
        return insert(self.table).from_select(list(names), self._records(names)).returning(*self.table.c)

    def _records(self, names: Sequence[str], *more: Any) -> Any:
        """Rows of these columns out of the parameter `records`, an array of objects, with other values beside them."""
        listed = ", ".join(names)
        records = text(f"(select {listed} from jsonb_populate_recordset(null::{self.table.name}, cast(:records as jsonb))) as given")  # noqa: S608 - names of columns
        return select(*(literal_column(name) for name in names), *more).select_from(records)

    async def _explain_missing(self, id: UUID, version: int | None) -> None:
        if version is not None and await self._find_by_id(id) is not None:
            raise StaleVersion("the row has changed since it was read")
        raise NotFound(f"no {self.model.__name__} has this id")
