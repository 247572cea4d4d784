"""Documents and limits files built to break arithmetic, readers or writers: each is answered, none crashes."""

from __future__ import annotations

import time
from typing import Any

import pytest

from hands.core import checks
from hands.core.case import Denial
from hands.core.commands import AnyCommand
from hands.core.engine import decide
from hands.core.events import DocumentReceived, QuoteFetched
from hands.core.intents import read_document
from hands.core.limits import LimitsError, read_limits
from hands.core.state import State
from hands.core.vocab import Code
from tests.core.world import case, document, encoded, intent, limits_text, quote, refusal, verdict, world


@pytest.mark.parametrize(
    ("symbol", "trigger", "stop"), [("AAPL", "0.00005", "0.00001"), ("SOL/USD", "0.0005", "0.0001")]
)
def test_trap_30_a_price_below_a_tick_is_denied_and_not_a_crash(symbol: str, trigger: str, stop: str) -> None:
    assert (
        verdict(world(), intent(asset=symbol, trigger_price=trigger, stop_loss=stop)).code
        is Code.PRICE_COLLAR
    )


@pytest.mark.parametrize("arming", [False, True])
def test_a_limit_that_rounds_to_nothing_is_denied_even_without_a_collar(arming: bool) -> None:
    asked = intent(trigger_price="0.00005", stop_loss="0.00001", take_profit="1")
    judged = verdict(world(price_collar="1", max_spread="1"), asked, arming=arming)
    assert judged.denial is not None
    assert "no order can be priced" in judged.denial.message


def test_a_coins_stop_below_a_tick_is_denied_and_not_a_crash() -> None:
    asked = intent(asset="SOL/USD", stop_loss="0.0005", take_profit="400")
    assert verdict(world(max_stop_distance="1"), asked).code is Code.VENUE_RULE


def received(state: State, members: dict[str, Any], name: str) -> list[AnyCommand]:
    event = DocumentReceived(
        ts_ns=state.now_ns, agent="default", name=name, data=encoded(members), file_event_ns=state.now_ns
    )
    return decide(state, event)


def test_trap_32_one_id_for_two_documents_never_drops_the_live_trade() -> None:
    state = world(quotes={"AAPL": None})
    received(state, document(1, "AAPL"), "a.json")
    received(state, document(1, "SPY"), "b.json")
    quote(state, "AAPL", "149.98", "150")
    decide(state, QuoteFetched(ts_ns=state.now_ns, symbol="AAPL", ok=True))
    assert len(state.live_on("SPY")) + len(state.live_on("AAPL")) == 1
    assert len(state.committed()) == 1


def test_reading_takes_time_in_proportion_to_the_size() -> None:
    data = b"[" * 9 + b'"' + b'\\"' * 32_000
    began = time.process_time()  # the processor's time: another program's load does not count
    read_document(data)
    assert time.process_time() - began < 2  # a quadratic reader needs 9 s


@pytest.mark.parametrize(
    "data", [b'{"\\ud800": null}', b'{"a": {"\\ud800": null}}', b'{"\\ud800": 1, "\\ud800": 2}']
)
def test_every_refusal_can_be_written(data: bytes) -> None:
    assert refusal(data).message.encode()


@pytest.mark.parametrize("value", ["nan", "-inf", "0." + "1" * 40])
def test_a_limit_that_is_no_number_names_its_key(value: str) -> None:
    with pytest.raises(LimitsError, match=r"max_spread.*paste: max_spread = 0.005"):
        read_limits(limits_text(max_spread=value))


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 3000])
def test_any_text_is_a_limits_error(value: str) -> None:
    with pytest.raises(LimitsError):
        read_limits(limits_text(max_spread=value))


def test_ratios_are_rounded_against_the_trade() -> None:
    state = world(quotes={"AAPL": ("149.90", "150.10")})
    assert isinstance(
        checks.collar(case(state, intent(trigger_price="153.00000007", take_profit="160"))), Denial
    )
