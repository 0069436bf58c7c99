"""The built-in payment provider: deterministic by token, one charge per key, and nothing forgotten by a restart."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from app.orders.provider import ChargeRequest, ChargeState, UnknownToken
from app.orders.test_provider import BANK_SECONDS, TestPaymentProvider
from tests.shop import Shop


def request(key: str = "key", *, capture: bool = True) -> ChargeRequest:
    return ChargeRequest(Decimal("12.50"), "USD", key, capture)


@pytest.mark.parametrize(
    ("token", "code"), [("tok_success", None), ("tok_declined", "card_declined"), ("tok_insufficient_funds", "insufficient_funds")]
)
async def test_the_token_decides(shop: Shop, token: str, code: str | None) -> None:
    provider = shop.provider
    await provider.verify(token)
    charge = await provider.charge(request(), token)
    assert (charge.succeeded, charge.failure_code, bool(charge.failure_message)) == (code is None, code, code is not None)
    assert await provider.charge(request(), token) == charge
    assert await TestPaymentProvider(shop.repositories).find(request()) == charge
    assert (await provider.charge(request("another"), token)).id != charge.id
    assert await provider.ledger.count() == 2


async def test_calls_at_once_charge_once(shop: Shop) -> None:
    """Over and over, since two indexes stand in the way of a second charge, and which one it meets is a matter of moments."""
    for number in range(40):
        calls = (TestPaymentProvider(shop.repositories).charge(request(f"key-{number}"), "tok_success") for _ in range(8))
        assert len({charge.id for charge in await asyncio.gather(*calls)}) == 1
    assert await shop.provider.ledger.count() == 40


@pytest.mark.parametrize(("token", "made"), [("tok_timeout", ChargeState.OPEN), ("tok_response_lost", ChargeState.SUCCEEDED)])
async def test_what_was_lost_is_there_when_asked_again(shop: Shop, token: str, made: ChargeState) -> None:
    with pytest.raises(TimeoutError):
        await shop.provider.charge(request(), token)
    assert (await shop.provider.find(request())).state == made
    assert (await shop.provider.charge(request(), token)).succeeded
    assert await shop.provider.ledger.count() == 1


@pytest.mark.parametrize("token", [None, "tok_timeout"])
async def test_a_charge_that_was_cancelled_before_it_was_made_never_is(shop: Shop, token: str | None) -> None:
    if token:
        with pytest.raises(TimeoutError):
            await shop.provider.charge(request(), token)
    assert (await shop.provider.find(request())).state == ChargeState.OPEN
    assert (await shop.provider.cancel(request())).failure_code == "abandoned"
    assert (await shop.provider.charge(request(), token or "tok_success")).failure_code == "abandoned"


async def test_money_that_was_taken_stays_taken(shop: Shop) -> None:
    made = await shop.provider.charge(request(), "tok_success")
    assert await shop.provider.cancel(request()) == made


async def test_a_bank_takes_its_time(shop: Shop) -> None:
    assert (await shop.provider.charge(request(), "tok_async")).state == ChargeState.PENDING
    assert (await shop.provider.find(request())).state == ChargeState.PENDING
    assert (await shop.provider.cancel(request())).state == ChargeState.PENDING
    later = replace(shop.repositories, now=lambda: shop.repositories.now() + BANK_SECONDS + timedelta(seconds=1))
    assert (await TestPaymentProvider(later).find(request())).succeeded


async def test_an_unknown_token_charges_nothing(shop: Shop) -> None:
    with pytest.raises(UnknownToken):
        await shop.provider.verify("tok_bogus")
    with pytest.raises(UnknownToken):
        await shop.provider.charge(request(), "tok_bogus")
    assert await shop.provider.ledger.count() == 0
