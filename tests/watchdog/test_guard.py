"""The watchdog's loop in this process, at the shared exchange: its keys, its look at the beat, and when it calls off."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hands.core import heartbeat
from hands.core.events import VenueOrder
from hands.core.guard_sheet import FILE_NAME, GuardSheet
from hands.core.heartbeat import AT, FENCE, Beater, Phase, write_beater
from hands.core.orders import ReducingOrder
from hands.core.reducing import Holding, reducing_order
from hands.core.units import NANO, NS_PER_MS, NS_PER_S, Price, Qty
from hands.core.vocab import AssetClass, Leg, OrderClass, OrderStatus, OrderType, Side, TimeInForce
from hands.runtime.beat import boot_number, map_page
from hands.venues.alpaca.endpoints import Credentials, Endpoints
from hands.watchdog.guard import Watchdog, WrongAccount
from hands.watchdog.page import Page
from hands.watchdog.rules import Cancel, Episode, Submit
from hands.watchdog.trades import Held
from hands.watchdog.venue import Line, Unanswered
from tests.core.world import intent_id, limits
from tests.e2e.harness import Exchange

pytestmark = pytest.mark.e2e


class Told(list[str]):
    """What was said, by its event."""

    def __call__(self, document: dict[str, object]) -> None:
        self.append(str(document["event"]))


def beating(folder: Path, *, silent_ms: int = 0) -> memoryview:
    words = map_page(folder / heartbeat.FILE_NAME)
    assert words is not None
    beater = Beater(pid=os.getpid(), token=1, boot=boot_number(), phase=Phase.TRADING)
    write_beater(words, beater, time.monotonic_ns() - silent_ms * NS_PER_MS)
    return words


def guard(folder: Path, exchange: Exchange, told: Told, *, secret: str = "sim") -> Watchdog:
    return Watchdog(
        folder,
        Endpoints.of(exchange.url),
        Credentials("sim", secret),
        limits(),
        late_ns=60 * NS_PER_S,
        close_intent=True,
        requests_per_minute=200,
        timeout_s=2.0,
        account=None,
        say=told,
    )


async def watched(dog: Watchdog, holds: Callable[[], bool]) -> None:
    task = asyncio.create_task(dog.watch())
    try:
        async with asyncio.timeout(10):
            while not holds() and not task.done():  # noqa: ASYNC110  another task is what is waited for
                await asyncio.sleep(0.005)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled():
        task.result()


def test_keys_that_open_nothing_are_told_while_the_engine_still_lives(
    tmp_path: Path, shared_exchange: Exchange
) -> None:
    beating(tmp_path)
    told = Told()
    asyncio.run(watched(guard(tmp_path, shared_exchange, told, secret="wrong"), lambda: len(told) > 1))
    assert told == ["alive", "unreachable"]


def test_keys_of_another_account_are_refused_while_the_engine_still_lives(
    tmp_path: Path, shared_exchange: Exchange
) -> None:
    beating(tmp_path)
    sheet = GuardSheet(venue="sim", account="another", written_ns=0, trades=())
    (tmp_path / FILE_NAME).write_bytes(msgspec.json.encode(sheet))
    with pytest.raises(WrongAccount, match="another"):
        asyncio.run(watched(guard(tmp_path, shared_exchange, Told()), lambda: False))


def a_stop() -> ReducingOrder:
    holding = Holding(
        intent_id=intent_id(1), symbol="SOL/USD", asset_class=AssetClass.CRYPTO, qty=Qty(NANO), lot=Qty(1)
    )
    return reducing_order(
        holding,
        Leg.STOP_LOSS,
        1,
        NANO,
        order_type=OrderType.STOP_LIMIT,
        time_in_force=TimeInForce.GTC,
        stop_price=Price(140 * NANO),
        limit_price=Price(139 * NANO),
    )


def line_to(exchange: Exchange) -> Line:
    return Line(
        Endpoints.of(exchange.url),
        Credentials("sim", "sim"),
        symbols=("SOL/USD",),
        close_intent=True,
        requests_per_minute=200,
        timeout_s=2.0,
    )


def test_an_order_is_called_off_when_the_engine_came_back_while_the_connection_was_made(
    shared_exchange: Exchange,
) -> None:
    asked: list[bool] = []

    def is_back() -> bool:
        asked.append(True)
        return len(asked) == 1

    async def life() -> None:
        line = line_to(shared_exchange)
        try:
            with pytest.raises(Unanswered, match="called off"):
                await line.submit(a_stop(), unless=is_back)
            with pytest.raises(Exception, match="40310000"):  # this one arrived: there is nothing to sell
                await line.submit(a_stop(), unless=is_back)
        finally:
            await line.close()

    asyncio.run(life())
    assert len(asked) == 2


@pytest.mark.parametrize("kind", ["a cancel", "an order"])
def test_the_fence_goes_up_before_every_act_and_stays_down_while_the_engine_beats(
    tmp_path: Path, shared_exchange: Exchange, kind: str
) -> None:
    words = beating(tmp_path, silent_ms=120_000)
    told = Told()
    dog = guard(tmp_path, shared_exchange, told)
    found = VenueOrder(
        order_id="00000000-0000-4000-8000-00000000000f",
        client_order_id="hands-x",
        symbol="SOL/USD",
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        order_class=OrderClass.SIMPLE,
        status=OrderStatus.NEW,
        status_text="",
        qty=Qty(NANO),
        filled_qty=Qty(0),
    )
    step = Cancel(found, "a test") if kind == "a cancel" else Submit(a_stop(), "a test", closes=False)

    async def life() -> None:
        dog._line = line_to(shared_exchange)
        dog._page = Page(tmp_path, late_ns=60 * NS_PER_S)
        dog._page.beat()
        for times in (1, 2):
            assert await dog._carry_out(step, _held(), Episode())
            assert words[FENCE] == times
        words[AT] = time.monotonic_ns()
        assert not await dog._carry_out(step, _held(), Episode())
        assert words[FENCE] == 2
        await dog._hang_up()

    asyncio.run(life())
    assert told.count("fence") == 1


def _held() -> Held:
    return Held(
        intent_id=intent_id(1),
        symbol="SOL/USD",
        asset_class=AssetClass.CRYPTO,
        is_long=True,
        owned=Qty(NANO),
        lot=Qty(1),
        price_increment=None,
        entry=None,
        exits=(),
        parents={},
        stop=Price(140 * NANO),
        stop_limit=Price(139 * NANO),
        target=None,
        deadline_ns=None,
        attempts={},
        unprotected_max_ns=None,
    )
