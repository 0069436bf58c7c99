"""The built-in payment provider: deterministic by token, and one charge per key."""

from decimal import Decimal

import pytest

from app.orders.provider import ChargeRequest, TestPaymentProvider, UnknownToken


def request(token: str, key: str = "key") -> ChargeRequest:
    return ChargeRequest(Decimal("12.50"), "USD", token, key)


@pytest.mark.parametrize(
    ("token", "code"), [("tok_success", None), ("tok_declined", "card_declined"), ("tok_insufficient_funds", "insufficient_funds")]
)
async def test_the_token_decides(token: str, code: str | None) -> None:
    provider = TestPaymentProvider()
    await provider.verify(token)
    charge = await provider.charge(request(token))
    assert (charge.succeeded, charge.failure_code, bool(charge.failure_message)) == (code is None, code, code is not None)
    assert await provider.charge(request(token)) is charge
    assert await TestPaymentProvider().charge(request(token)) == charge
    assert (await provider.charge(request(token, "another"))).id != charge.id
    assert len(provider.charges) == 2


async def test_a_lost_answer_is_given_when_asked_again() -> None:
    provider = TestPaymentProvider()
    with pytest.raises(TimeoutError):
        await provider.charge(request("tok_timeout"))
    assert (await provider.charge(request("tok_timeout"))).succeeded
    assert len(provider.charges) == 1


async def test_an_unknown_token_charges_nothing() -> None:
    provider = TestPaymentProvider()
    with pytest.raises(UnknownToken):
        await provider.verify("tok_bogus")
    with pytest.raises(UnknownToken):
        await provider.charge(request("tok_bogus"))
    assert not provider.charges


async def test_only_the_newest_charges_are_remembered() -> None:
    provider = TestPaymentProvider(most_charges=2)
    for number in range(5):
        await provider.charge(request("tok_success", str(number)))
    assert list(provider.charges) == ["3", "4"]
