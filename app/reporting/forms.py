"""The forms of a report's file: each writes pages of rows as they come, so that no report is ever whole in memory.

Money is a decimal text with exactly its currency's digits, in every form, as in GraphQL; a time is RFC 3339 in UTC, in Parquet a timestamp.
"""

import csv
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Protocol, cast
from uuid import UUID

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from app.core.money import format_amount
from app.stores.models import ReportFormat, ReportType

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV Injection)."""

MEDIA_TYPES: Final[Mapping[ReportFormat, str]] = {
    ReportFormat.CSV: "text/csv; charset=utf-8",
    ReportFormat.JSON: "application/json",
    ReportFormat.PARQUET: "application/vnd.apache.parquet",
}
TEXT, WHOLE, NUMBER, MOMENT = pa.string(), pa.int64(), pa.float64(), pa.timestamp("us", tz="UTC")
FIELDS: Final[Mapping[ReportType, Mapping[str, pa.DataType]]] = {
    ReportType.SALES: {
        "id": TEXT,
        "number": WHOLE,
        "status": TEXT,
        "currency": TEXT,
        **dict.fromkeys(("items_total", "discount", "shipping", "tax", "total"), TEXT),
        "created_at": MOMENT,
        "completed_at": MOMENT,
    },
    ReportType.CARTS: {
        "id": TEXT,
        "status": TEXT,
        "currency": TEXT,
        **dict.fromkeys(("items_total", "discount", "total"), TEXT),
        "pieces": WHOLE,
        "created_at": MOMENT,
        "updated_at": MOMENT,
    },
    ReportType.PRODUCTS: {"id": TEXT, "name": TEXT, "sku": TEXT, "currency": TEXT, "orders": WHOLE, "pieces": WHOLE, "revenue": TEXT},
    ReportType.RECOVERY: {
        "id": TEXT,
        "cart_id": TEXT,
        "status": TEXT,
        **dict.fromkeys(("created_at", "sent_at", "opened_at", "recovered_at"), MOMENT),
        "currency": TEXT,
        "recovered_amount": TEXT,
    },
    ReportType.FEATURES: {
        **dict.fromkeys(("subject", "subject_id", "name", "version", "value"), TEXT),
        "number": NUMBER,
        "computed_at": MOMENT,
    },
}


def plain(row: Any, names: Sequence[str]) -> dict[str, Any]:
    """A row's values as every form has them: amounts and ids as texts."""
    return {name: _plain(row[name], row["currency"]) for name in names}


def _plain(value: Any, currency: str | None) -> Any:
    if isinstance(value, Decimal):
        return format_amount(value, currency or "USD")
    return str(value) if isinstance(value, UUID) else value


class Form(Protocol):
    """Writes one file: pages, then the end."""

    def write(self, rows: Sequence[dict[str, Any]]) -> None: ...

    def close(self) -> None: ...


class Csv:
    """With a line of names. Texts that a spreadsheet would compute get an apostrophe before them."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(names)

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        self._writer.writerows([_cell(value) for value in row.values()] for row in rows)

    def close(self) -> None:
        self._file.close()


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


class Json:
    """One array of objects, a line each."""

    def __init__(self, path: Path, _names: Sequence[str]) -> None:
        self._file = path.open("wb")
        self._before = b"["

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        for row in rows:
            self._file.write(self._before + b"\n" + orjson.dumps(row))
            self._before = b","

    def close(self) -> None:
        self._file.write(b"\n]\n" if self._before == b"," else b"[]\n")
        self._file.close()


class Parquet:
    """A row group per page."""

    def __init__(self, path: Path, fields: Mapping[str, pa.DataType]) -> None:
        self._schema = pa.schema(list(fields.items()))
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        self._writer.write_table(pa.Table.from_pylist(list(rows), self._schema))

    def close(self) -> None:
        self._writer.close()


def form(format: ReportFormat, path: Path, type: ReportType) -> Form:
    """What writes a report's file."""
    fields = FIELDS[type]
    made = {ReportFormat.CSV: Csv, ReportFormat.JSON: Json, ReportFormat.PARQUET: Parquet}[format]
    return cast(Form, made(path, fields if made is Parquet else list(fields)))
