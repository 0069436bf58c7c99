"""Stripe, by its official library: a payment is a PaymentIntent.

An intent is made without a card, under the payment's key, and then confirmed with one. So whoever knows the key can find the intent (made
again with the same key it is the same, for at least 24 hours), see how it stands, and cancel it: a charge that was cut off between the two
takes no money afterwards.
"""

from collections.abc import Awaitable, Mapping
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

import stripe
import structlog

from app.core.money import exponent
from app.orders.provider import (
    ABANDONED,
    ANSWER_SECONDS,
    Charge,
    ChargeRequest,
    ChargeState,
    ForgedEvent,
    ProviderNews,
    Repayment,
    RepaymentRequest,
    UnknownToken,
)

TWO_DECIMALS: Final = frozenset({"ISK", "UGX"})
"""Currencies without minor units that Stripe writes with two decimals all the same (Stripe, special cases of currencies)."""

STATES: Final = {
    "succeeded": ChargeState.SUCCEEDED,
    "requires_capture": ChargeState.AUTHORIZED,
    "processing": ChargeState.PENDING,
    "canceled": ChargeState.FAILED,
}
PAYMENT: Final = "payment_id"
"""Under this name an intent's metadata hold the payment's id."""

log = structlog.get_logger(__name__)


class StripeProvider:
    """Speaks to Stripe, or to what speaks as Stripe does at `api_url`. Whatever keeps it from an answer is a ConnectionError."""

    name = "stripe"

    def __init__(self, api_key: str, webhook_secret: str, api_url: str | None = None, timeout: float = ANSWER_SECONDS) -> None:
        self.timeout = timeout
        self._api_key, self._webhook_secret, self._api_url = api_key, webhook_secret, api_url

    @cached_property
    def _http(self) -> stripe.HTTPXClient:
        return stripe.HTTPXClient(timeout=self.timeout)

    @cached_property
    def _client(self) -> Any:
        addresses: Any = {"base_addresses": {"api": self._api_url}} if self._api_url else {}
        # The sweep asks again, so that the library need not.
        return stripe.StripeClient(self._api_key, http_client=self._http, max_network_retries=0, **addresses).v1

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def verify(self, token: str) -> None:
        try:
            await _asked(self._client.payment_methods.retrieve_async(token))
        except stripe.InvalidRequestError as error:
            raise UnknownToken from error

    async def charge(self, request: ChargeRequest, token: str) -> Charge:
        intent = await self._intent(request)
        if _charge(intent, request).state != ChargeState.OPEN:
            return _charge(intent, request)
        confirmation = {"payment_method": token, "error_on_requires_action": True}
        options = {"idempotency_key": f"{request.idempotency_key}:confirm"}
        try:
            return _charge(await _asked(self._client.payment_intents.confirm_async(intent["id"], confirmation, options)), request)
        except stripe.CardError as error:
            return _failed(intent["id"], request, error.error.to_dict() if error.error else {})
        except stripe.InvalidRequestError as error:
            found = await self.find(request)
            if found.state == ChargeState.OPEN:
                raise UnknownToken from error
            return found

    async def find(self, request: ChargeRequest) -> Charge:
        id = request.charge_id or (await self._intent(request))["id"]
        return _charge(await _asked(self._client.payment_intents.retrieve_async(id)), request)

    async def cancel(self, request: ChargeRequest) -> Charge:
        found = await self.find(request)
        if found.state not in (ChargeState.OPEN, ChargeState.AUTHORIZED):
            return found
        try:
            options = {"cancellation_reason": "abandoned"}
            return _charge(await _asked(self._client.payment_intents.cancel_async(found.id, options)), request)
        except stripe.InvalidRequestError:
            return await self.find(request)

    async def capture(self, request: ChargeRequest, amount: Decimal) -> Charge:
        found = await self.find(request)
        if found.state != ChargeState.AUTHORIZED:
            return found
        taken = {"amount_to_capture": minor(amount, request.currency)}
        options = {"idempotency_key": f"{request.idempotency_key}:capture"}
        try:
            return _charge(await _asked(self._client.payment_intents.capture_async(found.id, taken, options)), request)
        except stripe.InvalidRequestError:
            return await self.find(request)

    async def refund(self, request: RepaymentRequest) -> Repayment:
        wanted = {"payment_intent": request.charge.charge_id, "amount": minor(request.amount, request.charge.currency)}
        try:
            made = await _asked(self._client.refunds.create_async(wanted, {"idempotency_key": request.idempotency_key}))
        except stripe.InvalidRequestError as error:
            return Repayment(None, error.code or "refused")
        failed = made["status"] in ("failed", "canceled")
        return Repayment(made["id"], (made.get("failure_reason") or made["status"]) if failed else None)

    def read_news(self, body: bytes, headers: Mapping[str, str]) -> ProviderNews:
        try:
            event = stripe.Webhook.construct_event(body, headers.get("stripe-signature", ""), self._webhook_secret)
        except (ValueError, stripe.SignatureVerificationError) as error:
            raise ForgedEvent from error
        about = event.data.object.to_dict()
        metadata = about.get("metadata") if about.get("object") == "payment_intent" else None
        return ProviderNews(event.id, event.type, (metadata or {}).get(PAYMENT))

    async def _intent(self, request: ChargeRequest) -> dict[str, Any]:
        """The intent of a key, as it was when it was made."""
        wanted = {
            "amount": minor(request.amount, request.currency),
            "currency": request.currency.lower(),
            "capture_method": "automatic" if request.capture else "manual",
            "payment_method_types": ["card"],
            "metadata": {PAYMENT: request.idempotency_key},
        }
        return await _asked(self._client.payment_intents.create_async(wanted, {"idempotency_key": request.idempotency_key}))


def minor(amount: Decimal, currency: str) -> int:
    """An amount in the units in which Stripe counts: cents, or the like."""
    return int(amount.scaleb(_decimals(currency)))


def major(units: int, currency: str) -> Decimal:
    return Decimal(units).scaleb(-_decimals(currency))


def _decimals(currency: str) -> int:
    return 2 if currency in TWO_DECIMALS else exponent(currency)


async def _asked(question: Awaitable[Any]) -> dict[str, Any]:
    """What Stripe answers. Refusals of a card or of a request are errors of the library's own."""
    try:
        answered: dict[str, Any] = (await question).to_dict()
        return answered
    except (stripe.CardError, stripe.InvalidRequestError):
        raise
    except stripe.StripeError as error:
        log.warning("stripe_unanswered", error=type(error).__name__, status=error.http_status, request=error.request_id)
        raise ConnectionError("Stripe has not answered") from error


def _charge(intent: dict[str, Any], request: ChargeRequest) -> Charge:
    """How an intent stands. One whose card was declined waits for another card, which a payment never gives it."""
    currency = intent["currency"].upper()
    state = STATES.get(intent["status"], ChargeState.OPEN)
    units = intent["amount_received"] if state == ChargeState.SUCCEEDED else intent["amount"]
    charge = Charge(intent["id"], state, major(units, currency), currency)
    if state == ChargeState.OPEN and intent.get("last_payment_error"):
        return _failed(intent["id"], request, intent["last_payment_error"])
    if state == ChargeState.FAILED:
        return charge.failed(intent.get("cancellation_reason") or ABANDONED, "The charge was given up before it was made.")
    return charge


def _failed(id: str, request: ChargeRequest, error: dict[str, Any]) -> Charge:
    code = error.get("decline_code") or error.get("code") or "card_declined"
    message = error.get("message") or "The card was declined."
    return Charge(id, ChargeState.FAILED, request.amount, request.currency).failed(code[:64], message[:500])
