"""SQL shows amounts exactly as Python does, or says that it cannot."""

from decimal import Decimal

from sqlalchemy import Numeric, String, cast, column, func, select, values

from app.core.money import EXPONENTS, format_amount
from app.core.statement import compile_statement
from app.execution.values import money
from tests.execution.conftest import Both

ANOMALOUS = "\x01!"
AMOUNTS = ("0", "1", "0.5", "0.05", "1.005", "12.3450", "99999.99", "123456789012345.6789", "0.0001")


async def test_amounts_of_every_currency(both: Both) -> None:
    rows = [(Decimal(amount), currency) for amount in AMOUNTS for currency in EXPONENTS]
    given = values(column("amount", Numeric(19, 4)), column("currency", String), name="given").data(rows)
    amount = cast(given.c.amount, Numeric(19, 4))
    statement = compile_statement(
        select(given.c.amount, given.c.currency, money(amount, given.c.currency).label("shown")).select_from(given)
    )
    for row in await both.repositories.database.fetch(statement, {}):
        exact = row["amount"] == round(row["amount"], EXPONENTS[row["currency"]])
        assert row["shown"] == (format_amount(row["amount"], row["currency"]) if exact else ANOMALOUS)


async def test_an_unknown_currency_is_an_anomaly(both: Both) -> None:
    statement = compile_statement(select(money(cast(Decimal(1), Numeric(19, 4)), func.concat("XX", "X"))))
    assert await both.repositories.database.fetch_value(statement, {}) == ANOMALOUS
