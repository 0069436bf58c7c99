"""A shop in which anything may happen: shoppers, guests, staff, sweeps, dying processes, a provider that is not heard, jumping clocks.

Each method does one thing, often several times at once, and bears every refusal that a caller can mend; anything else is a fault of the
shop. What is to be done it on (an order, a payment) is named by a number, so that runs can be repeated whatever raced in them.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any, ClassVar, Final, TypeVar
from uuid import UUID

import asyncpg
import strawberry

from app.carts.models import CartStatus
from app.catalog.models import InventoryAdjust, InventoryPolicy, Product, ProductUpdate
from app.core.clock import system_clock
from app.core.errors import ErrorCode, UserError
from app.core.money import exponent
from app.core.security import Viewer, ViewerKind, guest
from app.orders.incoming import IncomingPayments
from app.orders.models import Capture, Order, Payment
from app.orders.payments import Moment
from app.orders.provider import Charge, ChargeRequest, ProviderNews, Repayment, RepaymentRequest
from app.orders.sweep import Sweep
from app.orders.test_provider import TestPaymentProvider
from tests.invariants import breaches, left_open
from tests.shop import CLOSING, CountingDatabase, Shop, ids, open_shop

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
GUEST: Final = 2
"""The number of the guest; those below are shoppers."""

STOCK: Final = (4, 2, 8)
UNKNOWN: Final = {ErrorCode.PAYMENT_TIMEOUT, ErrorCode.PAYMENT_IN_PROGRESS}
"""Answers that say that the outcome is not known yet."""

COUNTED: Final = """select product_id, sum(quantity) as came from inventory_movements m join inventory i on i.id = inventory_id
  where kind = 'ADJUSTMENT' group by product_id"""
PLACED: Final = "order { id number total currency }"
T = TypeVar("T")


class Died(BaseException):
    """The process is gone."""


class Unreliable(TestPaymentProvider):
    """Does not hear the next questions, or does what they ask and loses the answer."""

    __test__: ClassVar[bool] = False

    def __init__(self, repositories: Any) -> None:
        super().__init__(repositories)
        self.losses: list[str] = []

    async def charge(self, request: ChargeRequest, token: str) -> Charge:
        return await self._lossy(super().charge(request, token))

    async def find(self, request: ChargeRequest) -> Charge:
        return await self._lossy(super().find(request))

    async def cancel(self, request: ChargeRequest) -> Charge:
        return await self._lossy(super().cancel(request))

    async def capture(self, request: ChargeRequest, amount: Decimal) -> Charge:
        return await self._lossy(super().capture(request, amount))

    async def refund(self, request: RepaymentRequest) -> Repayment:
        return await self._lossy(super().refund(request))

    async def _lossy(self, asked: Awaitable[T]) -> T:
        loss = self.losses.pop() if self.losses else None
        if loss == "question":
            asked.close()  # type: ignore[attr-defined]
            raise TimeoutError
        answer = await asked
        if loss == "answer":
            raise ConnectionError
        return answer


@dataclass
class World:
    """One shop, and all who have to do with it."""

    shop: Shop
    provider: Unreliable
    shoppers: list[Viewer]
    staff: Viewer
    products: list[Product]
    offset: list[timedelta]
    came: Counter[UUID]
    """The pieces of each product that were put on hand otherwise than by a return."""

    books: asyncpg.Connection
    """Where the books are read, so that this is planned once."""

    once_untracked: set[UUID] = field(default_factory=set)
    answers: dict[tuple[Any, ...], tuple[Viewer, dict[str, Any], Any]] = field(default_factory=dict)
    """What was asked under idempotency keys, and what was answered for good."""

    names: Any = field(default_factory=count)
    guest_token: str = "guest-0"

    @classmethod
    async def open(cls, database: CountingDatabase, books: asyncpg.Connection, schema: strawberry.Schema, currency: str) -> "World":
        offset = [timedelta()]
        shop = await open_shop(database, schema, lambda: system_clock() + offset[0], currency=currency, tax_rate=Decimal("7.7"))
        shop.provider = provider = Unreliable(shop.repositories)
        shoppers = [await shop.viewer() for _ in range(2)]
        staff = await shop.viewer(ViewerKind.ADMINISTRATOR, "*:*")
        prices = [str(Decimal(price).scaleb(-exponent(currency))) for price in (250, 1999, 5)]
        products = [await shop.product(price, stock, currency=currency) for price, stock in zip(prices, STOCK, strict=True)]
        came = Counter({product.id: stock for product, stock in zip(products, STOCK, strict=True)})
        return cls(shop, provider, shoppers, staff, products, offset, came, books)

    async def close(self) -> None:
        await self.shop.database.execute_script(f"{CLOSING} delete from pgqueuer")

    # --- What is true

    async def check(self) -> None:
        found = await breaches(self.books, self.once_untracked)
        assert not found, "\n".join(found)
        counted = await self.books.fetch(COUNTED)
        assert {row["product_id"]: row["came"] for row in counted if row["came"]} == {id: came for id, came in self.came.items() if came}

    async def check_settled(self) -> None:
        """A month later nobody waits for anything but staff."""
        self.provider.losses.clear()
        self.offset[0] = 30 * DAY
        await self._sweep().run()
        await self.check()
        found = await left_open(self.books)
        assert not found, "\n".join(found)

    # --- Shoppers

    def viewer(self, who: int) -> Viewer:
        return guest(self.guest_token) if who == GUEST else self.shoppers[who]

    async def fill(self, who: int, product: int, quantity: int, copies: int) -> bool:
        viewer = self.viewer(who)
        carts = self.shop.of(viewer).carts
        await self.at_once(copies, lambda: carts.put_in(viewer.user_id, self.products[product].id, quantity, store_id=self.shop.store.id))
        return True

    async def change(self, who: int, product: int, quantity: int) -> bool:
        viewer, cart = self.viewer(who), await self.filled(who)
        if cart is not None:
            await self.at_once(1, lambda: self.shop.of(viewer).carts.update_item(cart.id, self.products[product].id, quantity))
        return cart is not None

    async def sign_in(self, who: int, copies: int) -> bool:
        """The guest turns out to be a shopper, perhaps in two windows."""
        shopper, token = self.shoppers[who].user_id, self.viewer(GUEST).cart_token_hash
        assert shopper is not None
        assert token is not None
        await self.filled(GUEST)
        given = await self.at_once(copies, lambda: self.shop.repositories.guest_carts.give_to(shopper, token))
        self.guest_token = f"guest-{next(self.names)}"
        return any(given)

    async def leave(self, who: int) -> bool:
        cart = await self.filled(who)
        if cart is not None:
            await self.at_once(1, lambda: self.shop.repositories.carts.update_status(cart.id, CartStatus.ABANDONED))
        return cart is not None

    async def come_back(self, who: int) -> bool:
        """To a cart that was left, while another window may begin a new one."""
        viewer, carts = self.viewer(who), self.shop.of(self.viewer(who)).carts
        left = await carts.find_first({"status": CartStatus.ABANDONED.value})
        if left is None and await self.leave(who):
            left = await carts.find_first({"status": CartStatus.ABANDONED.value})
        if left is None:
            return False
        product, store_id = self.products[who].id, self.shop.store.id
        await asyncio.gather(
            self.at_once(2, lambda: carts.reopen(left.id)),
            self.at_once(1, lambda: carts.put_in(viewer.user_id, product, 1, store_id=store_id)),
        )
        return True

    async def accept(self, who: int) -> bool:
        viewer, cart = self.viewer(who), await self.filled(who)
        if cart is None:
            return False
        await self.at_once(1, lambda: self.shop.of(viewer).carts.accept_prices(cart.id))
        items = await self.shop.repositories.cart_items.find_by_cart_id(cart.id)
        offers = await self.shop.repositories.cart_items.find_offers([item.id for item in items])
        assert not any(offer.price_changed for offer in offers if offer)
        return True

    async def order(self, who: int, copies: int) -> bool:
        viewer = self.shoppers[who]
        cart = await self.active_cart(viewer)
        if cart is not None:
            input = {**ids(cartId=cart), "paymentMethod": "card", "acceptPriceChanges": True}
            await self._ask(viewer, "createOrder", input, copies)
        return cart is not None

    async def place(self, who: int, token: str, copies: int, *, keys: int = 1) -> bool:
        viewer = self.shoppers[who]
        cart = await self.active_cart(viewer)
        if cart is not None:
            input = {**ids(cartId=cart), "paymentMethod": "card", "paymentToken": token, "acceptPriceChanges": True}
            await asyncio.gather(*(self._ask(viewer, "placeOrder", input, copies) for _ in range(keys)))
        return cart is not None

    async def rush(self, token: str) -> bool:
        """All shoppers want the last pieces at once, each from two windows."""
        return any(await asyncio.gather(*(self.place(who, token, 1, keys=2) for who in range(len(self.shoppers)))))

    async def pay(self, which: int, token: str, copies: int) -> bool:
        order = await self._order(which, "PENDING", "FAILED")
        if order is not None:
            await self._ask(self._buyer(order), "processPayment", {**ids(orderId=order), "paymentToken": token}, copies)
        return order is not None

    async def pay_without_key(self, which: int, token: str, copies: int) -> bool:
        order = await self._order(which, "PENDING", "FAILED")
        if order is not None:
            rows = self.shop.of(self._buyer(order))
            await self.at_once(copies, lambda: self.shop.payments.pay(rows, order.id, token))
        return order is not None

    async def cancel(self, which: int, copies: int) -> bool:
        order = await self._order(which, "PENDING")
        if order is not None:
            await self._ask(self._buyer(order), "cancelOrder", ids(id=order), copies)
        return order is not None

    async def scramble(self, which: int, token: str) -> bool:
        """Everything that can end an order, at once."""
        order = await self._order(which, "PENDING", "FAILED")
        if order is None:
            return False
        rows = self.shop.of(self._buyer(order))
        await asyncio.gather(
            *(self.at_once(2, lambda: self.shop.payments.pay(rows, order.id, token)) for _ in range(2)),
            self.at_once(2, lambda: rows.orders.cancel(order.id)),
            self.at_once(2, self._sweep().run),
            self.hear(which),
        )
        return True

    async def repeat(self, which: int) -> bool:
        """Somebody sends a request again that was answered."""
        if not self.answers:
            await self._order(which, "PENDING")
        if not self.answers:
            return False
        (operation, _, key), (viewer, input, answer) = list(self.answers.items())[which % len(self.answers)]
        again = await self._asked(viewer, operation, input, key)
        assert again == answer, (operation, input, answer, again)
        return True

    # --- Staff

    async def reprice(self, product: int, units: int) -> bool:
        price = Decimal(units).scaleb(-exponent(self.products[product].currency))
        await self.shop.repositories.products.update_product(self.products[product].id, ProductUpdate(price=price))
        return True

    async def shelve(self, product: int, *, archived: bool) -> bool:
        products = self.shop.repositories.products
        await (products.archive if archived else products.unarchive)(self.products[product].id)
        return True

    async def count(self, product: int, delta: int, copies: int) -> bool:
        id = self.products[product].id
        change = InventoryAdjust(product_id=id, delta=delta, reason="counted")
        done = await self.at_once(copies, lambda: self.shop.repositories.inventory.adjust(change))
        self.came[id] += delta * len(done)
        return bool(done)

    async def set_policy(self, product: int, policy: InventoryPolicy) -> bool:
        id = self.products[product].id
        if policy is InventoryPolicy.UNTRACKED:
            self.once_untracked.add(id)
        return bool(await self.at_once(1, lambda: self.shop.repositories.inventory.set_policy(id, policy)) == [None])

    async def refund(self, which: int, quarters: int, copies: int, *, restock: bool) -> bool:
        """Give so many quarters of the payment back; five are too many."""
        payment = await self._payment(which, "COMPLETED", "REFUNDED")
        if payment is None:
            return False
        amount = self._part(payment.captured_amount, quarters, payment.currency)
        input = {**ids(paymentId=payment), "amount": amount, "restock": restock}
        await self._ask(self.staff, "refundPayment", input, copies)
        return True

    async def refund_at_once(self, which: int, requests: Sequence[tuple[int, bool]]) -> bool:
        """Different members of staff give back of one payment at once."""
        return any(await asyncio.gather(*(self.refund(which, quarters, 1, restock=restock) for quarters, restock in requests)))

    async def capture(self, which: int, quarters: int, copies: int) -> bool:
        payment = await one_of(self.shop.repositories.payments, which, ["PENDING"])
        if payment is None or payment.authorized_at is None:
            await self.set_capture(Capture.MANUAL)
            await self.pay(which, "tok_success", 1)
            await self.set_capture(Capture.AUTOMATIC)
            payment = await one_of(self.shop.repositories.payments, which, ["PENDING"])
        if payment is None:
            return False
        input = {**ids(paymentId=payment), "amount": self._part(payment.amount, quarters, payment.currency)}
        await self._ask(self.staff, "capturePayment", input, copies)
        return True

    async def set_capture(self, capture: Capture) -> bool:
        """Whether money is taken at once from now on, or set aside."""
        stores = self.shop.repositories.stores
        await stores.update_settings(self.shop.store.id, {"config": {"paymentCapture": capture.value}})
        return True

    # --- What happens by itself

    def jump(self, to: timedelta) -> None:
        self.offset[0] = to

    def lose(self, losses: Sequence[str]) -> None:
        """The provider's next questions or answers get lost."""
        self.provider.losses = list(losses)

    def die(self, moment: Moment) -> None:
        """The process that gets to this moment next dies there."""

        def passed(at: Moment) -> None:
            if at is moment:
                self.shop.passed = lambda _moment: None
                raise Died

        self.shop.passed = passed

    async def sweep(self, copies: int) -> bool:
        await self.at_once(copies, self._sweep().run)
        return True

    async def hear(self, which: int) -> bool:
        """The provider tells of a payment, twice."""
        payment = await self._payment(which, "PENDING")
        if payment is None:
            return False
        incoming = IncomingPayments(self.shop.repositories, self.provider)
        news = ProviderNews(f"evt_{next(self.names)}", "charge", str(payment.id))
        await self.at_once(2, lambda: incoming.take_in(news))
        return True

    async def forget(self) -> bool:
        """Old answers are removed."""
        removed = await self.shop.repositories.idempotency_keys.delete_older(self.shop.repositories.now() - DAY)
        if removed:
            self.answers.clear()
        return True

    # --- Steps

    def _sweep(self) -> Sweep:
        return Sweep(self.shop.repositories, self.provider, MINUTE, HOUR)

    def _buyer(self, order: Order) -> Viewer:
        return next(shopper for shopper in self.shoppers if shopper.user_id == order.user_id)

    def _part(self, amount: Decimal, quarters: int, currency: str) -> str:
        return str((amount * quarters / 4).quantize(Decimal(1).scaleb(-exponent(currency))))

    async def filled(self, who: int) -> Any:
        """The active cart, begun where there is none."""
        return await self.active_cart(self.viewer(who)) or (await self.fill(who, who, 1, 1) and await self.active_cart(self.viewer(who)))

    async def active_cart(self, viewer: Viewer) -> Any:
        owner = {"user_id": viewer.user_id} if viewer.user_id else {"cart_token_hash": viewer.cart_token_hash}
        return await self.shop.repositories.carts.find_first({**owner, "status": CartStatus.ACTIVE.value})

    async def _order(self, which: int, *statuses: str) -> Order | None:
        """The order of this number among those of these statuses, made where there is none."""
        orders = self.shop.repositories.orders
        found: Order | None = await one_of(orders, which, statuses)
        if found is None and await self.fill(which % 2, which % 3, 1, 1):
            await self.order(which % 2, 1)
            found = await one_of(orders, which, statuses)
        return found

    async def _payment(self, which: int, *statuses: str) -> Payment | None:
        """The payment of this number among those of these statuses, made where there is none."""
        payments = self.shop.repositories.payments
        found: Payment | None = await one_of(payments, which, statuses)
        if found is None and await self.pay(which, "tok_async" if "PENDING" in statuses else "tok_success", 1):
            found = await one_of(payments, which, statuses)
        return found

    async def at_once(self, copies: int, action: Callable[[], Awaitable[T]]) -> list[T]:
        """Do it so many times at once; gives what was neither refused nor cut off."""
        results = await asyncio.gather(*(action() for _ in range(copies)), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, (UserError, Died, TimeoutError, ConnectionError)):
                raise result
        return [result for result in results if not isinstance(result, BaseException)]

    async def _ask(self, viewer: Viewer, operation: str, input: dict[str, Any], copies: int) -> None:
        """Send a request with a new key, several times at once: whoever gets its answer gets the same."""
        key = f"key-{next(self.names)}"
        found = await self.at_once(copies, lambda: self._asked(viewer, operation, input, key))
        final = [answer for answer in found if answer is not None]
        assert all(answer == final[0] for answer in final), final
        if final:
            self.answers[operation, viewer.user_id, key] = (viewer, input, final[0])

    async def _asked(self, viewer: Viewer, operation: str, input: dict[str, Any], key: str) -> Any:
        """The answer to a request; None where it is not final."""
        kind = f"{operation[0].upper()}{operation[1:]}Input"
        if operation == "cancelOrder":
            arguments, kind, variables = "input: $input, idempotencyKey: $key", "IdInput", {"input": input, "key": key}
        else:
            arguments, variables = "input: $input", {"input": {**input, "idempotencyKey": key}}
        head = f"$input: {kind}!" + (", $key: String" if "key" in variables else "")
        document = f"mutation ({head}) {{ {operation}({arguments}) {{ {PLACED} userErrors {{ field code message }} }} }}"
        found = await self.shop.ask(viewer, document, **variables)
        assert "errors" not in found, found
        payload = found["data"][operation]
        errors = payload["userErrors"]
        open_ = any(error["code"] in UNKNOWN or "is under way" in error["message"] for error in errors)
        return None if open_ else payload


async def one_of(repository: Any, which: int, statuses: Sequence[str]) -> Any:
    found = await repository.find_many({"status": {"in": list(statuses)}})
    return found[which % len(found)] if found else None
