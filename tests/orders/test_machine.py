"""Random shoppers, staff, sweeps, faults and jumps of the clock on a real database: whatever they do, the shop's books are right.

`MACHINE_RUNS` sets how many runs there are of each seed. `MACHINE_SHRINK=1` looks for the shortest run that fails, for some minutes.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import strawberry
import uvloop
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from app.catalog.models import InventoryPolicy
from app.core.database import DatabaseOptions
from app.orders.models import Capture
from app.orders.payments import Moment
from app.orders.test_provider import TestPaymentProvider
from tests.conftest import fresh_database
from tests.orders.promotions import Promotions
from tests.orders.world import DAY, HOUR, MINUTE, STOCK, World
from tests.shop import CountingDatabase

RUNS = int(os.environ.get("MACHINE_RUNS", "100"))
PHASES = (Phase.generate, Phase.shrink) if os.environ.get("MACHINE_SHRINK") else (Phase.generate,)
STEPS = 8
SEEDS = 3
IDLE = "nothing to do"

SHOPPERS, EVERYBODY = st.integers(0, 1), st.integers(0, 2)
PRODUCTS = st.integers(0, len(STOCK) - 1)
WHICH = st.integers(0, 5)
COPIES = st.sampled_from([1, 1, 2, 3])
VOUCHERS = st.integers(0, 2)
UNITS = st.sampled_from([0, 1, 99, 2000])
POLICIES = st.sampled_from(InventoryPolicy)
TOKENS = st.sampled_from(["tok_success", "tok_success", *TestPaymentProvider.OUTCOMES])
LOSSES = st.lists(st.sampled_from(["question", "answer", ""]), min_size=1, max_size=3)


@dataclass
class Stage:
    """Where all runs of one test take place, one after the other; what they did is counted."""

    runner: asyncio.Runner
    database: CountingDatabase
    books: asyncpg.Connection
    schema: strawberry.Schema
    steps: Counter[str] = field(default_factory=Counter)


class ShopMachine(RuleBasedStateMachine):
    """One shop, from its opening to a month after its last sale.

    What a rule draws depends on nothing that races, or a run could not be repeated.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.world: World | None = None
        self.promotions: Promotions
        self.is_sound = True

    @initialize(currency=st.sampled_from(["USD", "JPY", "KWD"]))
    def open(self, currency: str) -> None:
        stage = self.stage
        self.world = stage.runner.run(World.open(stage.database, stage.books, stage.schema, currency))
        self.promotions = stage.runner.run(Promotions.begin(self.world))
        self.stage.steps["runs"] += 1

    def act(self, name: str, action: Callable[[World], Coroutine[Any, Any, bool]]) -> None:
        assert self.world is not None
        self.is_sound = False
        done = self.stage.runner.run(action(self.world))
        self.is_sound = True
        self.stage.steps[name if done else IDLE] += 1

    # --- Shoppers

    @rule(who=EVERYBODY, product=PRODUCTS, quantity=st.integers(1, 3), copies=COPIES)
    def fill(self, who: int, product: int, quantity: int, copies: int) -> None:
        self.act("fill", lambda world: world.fill(who, product, quantity, copies))

    @rule(who=EVERYBODY, product=PRODUCTS, quantity=st.integers(0, 3))
    def change(self, who: int, product: int, quantity: int) -> None:
        self.act("change", lambda world: world.change(who, product, quantity))

    @rule(who=SHOPPERS, copies=COPIES)
    def sign_in(self, who: int, copies: int) -> None:
        self.act("sign in", lambda world: world.sign_in(who, copies))

    @rule(who=EVERYBODY)
    def leave(self, who: int) -> None:
        self.act("leave", lambda world: world.leave(who))

    @rule(who=EVERYBODY)
    def come_back(self, who: int) -> None:
        self.act("come back", lambda world: world.come_back(who))

    @rule(who=EVERYBODY, product=PRODUCTS, units=UNITS)
    def accept(self, who: int, product: int, units: int) -> None:
        async def reprice_and_accept(world: World) -> bool:
            return await world.fill(who, product, 1, 1) and await world.reprice(product, units) and await world.accept(who)

        self.act("accept prices", reprice_and_accept)

    @rule(who=SHOPPERS, product=PRODUCTS, quantity=st.integers(1, 3), copies=COPIES)
    def order(self, who: int, product: int, quantity: int, copies: int) -> None:
        async def fill_and_order(world: World) -> bool:
            return await world.fill(who, product, quantity, 1) and await world.order(who, copies)

        self.act("order", fill_and_order)

    @rule(who=SHOPPERS, product=PRODUCTS, token=TOKENS, copies=COPIES)
    def place(self, who: int, product: int, token: str, copies: int) -> None:
        async def fill_and_place(world: World) -> bool:
            return await world.fill(who, product, 1, 1) and await world.place(who, token, copies)

        self.act("place", fill_and_place)

    @rule(product=PRODUCTS, quantity=st.integers(1, 4), token=TOKENS)
    def rush(self, product: int, quantity: int, token: str) -> None:
        async def fill_and_rush(world: World) -> bool:
            await asyncio.gather(*(world.fill(who, product, quantity, 1) for who in range(2)))
            return await world.rush(token)

        self.act("rush", fill_and_rush)

    @rule(which=WHICH, token=TOKENS, copies=COPIES)
    def pay(self, which: int, token: str, copies: int) -> None:
        self.act("pay", lambda world: world.pay(which, token, copies))

    @rule(which=WHICH, token=TOKENS, copies=COPIES)
    def pay_without_key(self, which: int, token: str, copies: int) -> None:
        self.act("pay without key", lambda world: world.pay_without_key(which, token, copies))

    @rule(which=WHICH, copies=COPIES)
    def cancel(self, which: int, copies: int) -> None:
        self.act("cancel", lambda world: world.cancel(which, copies))

    @rule(which=WHICH, token=TOKENS)
    def scramble(self, which: int, token: str) -> None:
        self.act("pay, cancel, sweep and hear at once", lambda world: world.scramble(which, token))

    @rule(which=st.integers(0, 20))
    def repeat(self, which: int) -> None:
        self.act("repeat", lambda world: world.repeat(which))

    # --- Vouchers, and carts that were left

    @rule(who=EVERYBODY, voucher=VOUCHERS, copies=COPIES)
    def apply(self, who: int, voucher: int, copies: int) -> None:
        self.act("apply voucher", lambda _: self.promotions.apply(who, voucher, copies))

    @rule(voucher=VOUCHERS, token=TOKENS, most=st.sampled_from([None, 1, 2]))
    def redeem(self, voucher: int, token: str, most: int | None) -> None:
        self.act("redeem voucher", lambda _: self.promotions.redeem(voucher, token, most))

    @rule(who=SHOPPERS, voucher=VOUCHERS, token=TOKENS)
    def try_again(self, who: int, voucher: int, token: str) -> None:
        self.act("try again", lambda _: self.promotions.try_again(who, voucher, token))

    @rule(who=EVERYBODY, later=st.sampled_from([2 * HOUR, 2 * HOUR, 8 * DAY]), copies=COPIES, failures=st.sampled_from([0, 0, 1, 3]))
    def neglect(self, who: int, later: timedelta, copies: int, failures: int) -> None:
        self.act("neglect", lambda _: self.promotions.neglect(who, later, copies, failures))

    @rule(which=WHICH, who=EVERYBODY, copies=COPIES)
    def follow(self, which: int, who: int, copies: int) -> None:
        self.act("follow link", lambda _: self.promotions.follow(which, who, copies))

    @rule(who=SHOPPERS, token=TOKENS, copies=COPIES)
    def win_back(self, who: int, token: str, copies: int) -> None:
        self.act("win back", lambda _: self.promotions.win_back(who, token, copies))

    # --- Staff

    @rule(product=PRODUCTS, units=UNITS)
    def reprice(self, product: int, units: int) -> None:
        self.act("reprice", lambda world: world.reprice(product, units))

    @rule(product=PRODUCTS, archived=st.booleans())
    def shelve(self, product: int, archived: bool) -> None:
        self.act("shelve", lambda world: world.shelve(product, archived=archived))

    @rule(product=PRODUCTS, delta=st.sampled_from([-3, -1, 1, 5]), copies=COPIES)
    def count(self, product: int, delta: int, copies: int) -> None:
        self.act("count", lambda world: world.count(product, delta, copies))

    @rule(who=SHOPPERS, product=PRODUCTS, policies=st.tuples(POLICIES, POLICIES))
    def change_policy(self, who: int, product: int, policies: tuple[InventoryPolicy, InventoryPolicy]) -> None:
        """What is sold under one policy may come back under another."""

        async def sell_between(world: World) -> bool:
            before, after = policies
            changed = await world.set_policy(product, before)
            sold = await world.fill(who, product, 1, 1) and await world.place(who, "tok_success", 1)
            return await world.set_policy(product, after) or changed or sold

        self.act("change policy", sell_between)

    @rule(which=WHICH, quarters=st.integers(1, 5), copies=COPIES, restock=st.booleans())
    def refund(self, which: int, quarters: int, copies: int, restock: bool) -> None:
        self.act("refund", lambda world: world.refund(which, quarters, copies, restock=restock))

    @rule(which=WHICH, requests=st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=2, max_size=4))
    def refund_at_once(self, which: int, requests: list[tuple[int, bool]]) -> None:
        self.act("refund at once", lambda world: world.refund_at_once(which, requests))

    @rule(which=WHICH, quarters=st.integers(1, 5), copies=COPIES)
    def capture(self, which: int, quarters: int, copies: int) -> None:
        self.act("capture", lambda world: world.capture(which, quarters, copies))

    @rule(capture=st.sampled_from(Capture))
    def set_capture(self, capture: Capture) -> None:
        self.act("set capture", lambda world: world.set_capture(capture))

    # --- What happens by itself

    @rule(copies=COPIES)
    def sweep(self, copies: int) -> None:
        self.act("sweep", lambda world: world.sweep(copies))

    @rule(to=st.sampled_from([0 * DAY, 2 * MINUTE, 2 * HOUR, 2 * DAY]))
    def jump(self, to: Any) -> None:
        async def jump_and_sweep(world: World) -> bool:
            world.jump(to)
            return await world.sweep(1) and (to < DAY or await world.forget())

        self.act("jump", jump_and_sweep)

    @rule(losses=LOSSES)
    def lose(self, losses: list[str]) -> None:
        async def lose(world: World) -> bool:
            world.lose(losses)
            return True

        self.act("lose", lose)

    @rule(moment=st.sampled_from(Moment))
    def die(self, moment: Moment) -> None:
        async def die(world: World) -> bool:
            world.die(moment)
            return True

        self.act("die", die)

    @rule(which=WHICH)
    def hear(self, which: int) -> None:
        self.act("hear", lambda world: world.hear(which))

    # --- What holds

    @invariant()
    def books_are_right(self) -> None:
        if self.world is not None:
            self.is_sound = False
            self.stage.runner.run(self.world.check())
            self.is_sound = True

    def teardown(self) -> None:
        if self.world is None:
            return
        try:
            if self.is_sound:
                self.stage.runner.run(self.world.check_settled())
        finally:
            self.stage.runner.run(self.world.close())


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("number", range(SEEDS))
def test_whatever_happens_the_books_are_right(
    postgres: str, migrated: str, schema: strawberry.Schema, number: int, record_property: Callable[[str, object], None]
) -> None:
    options = DatabaseOptions(pool_max=8, lock_timeout_ms=10_000, connect_timeout=20)
    quick = settings(
        phases=PHASES, max_examples=RUNS, stateful_step_count=STEPS, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        place = fresh_database(postgres, migrated)
        database = CountingDatabase(runner.run(place.__aenter__()), options)
        runner.run(database.open())
        books = runner.run(asyncpg.connect(database.dsn, timeout=10))
        stage = Stage(runner, database, books, schema)
        try:
            run_state_machine_as_test(seed(number)(lambda: ShopMachine(stage)), settings=quick)  # type: ignore[arg-type]
        finally:
            runner.run(books.close())
            runner.run(database.close())
            runner.run(place.__aexit__(None, None, None))
    record_property("counts", ["machine", dict(stage.steps)])
    assert stage.steps["runs"] >= RUNS
    assert stage.steps[IDLE] < stage.steps.total() / 2
