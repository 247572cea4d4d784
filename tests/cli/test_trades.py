"""cancel, close, amend, adopt and flatten: what they ask, what they print, how they end, and what they wait for."""

from __future__ import annotations

import io
import itertools
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from hands.cli import trades
from hands.cli.trades import flatten_lines

ID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"


def trade(state: str = "CLOSING", **changes: Any) -> dict[str, Any]:
    return {
        "intent_id": ID, "symbol": "AAPL", "state": state, "position": {"qty": "66", "avg_price": "150.00"}, "exit": None,
        "exit_wanted": None, "closing_qty": None, "waits_for_open": None, "next": "The position is being closed.",
    } | changes  # fmt: skip


CLOSED = trade(
    "CLOSED",
    position={"qty": "0", "avg_price": "150.00"},
    exit={"reason": "MANUAL", "price": "149.98", "pnl_usd": "-1.32"},
)


def accepts(daemon: Any, do: str, message: str = "66 AAPL are being sold", **changes: Any) -> None:
    answer = {"ok": True, "message": message, "intent_ids": [ID], "trades": [trade()], "state": "ACTIVE"}
    daemon.answers[do] = answer | changes


@pytest.fixture
def following(state_dir, serve):
    """Answer an act, and then the question for its trades with one answer after the other (the last for ever)."""
    asked: list[dict[str, Any]] = []

    def start(*answers: dict[str, Any], state: str = "ACTIVE") -> Any:
        rest: Iterator[dict[str, Any]] = itertools.chain(answers, itertools.repeat(answers[-1]))

        def handle(request: dict[str, Any]) -> dict[str, Any]:
            asked.append(request)
            if request["do"] == "trades":
                return {"ok": True, "trades": [next(rest)]}
            return {"ok": True, "message": "so be it", "intent_ids": [ID], "trades": [], "state": state}

        return serve(handle)

    start.asked = asked  # type: ignore[attr-defined]
    return start


@pytest.mark.parametrize(
    ("arguments", "request_"),
    [
        (("cancel", ID), {"do": "cancel", "target": ID}),
        (("close", "AAPL"), {"do": "close", "target": "AAPL", "qty": None}),
        (("close", ID[:8], "--qty", "10.5"), {"do": "close", "target": ID[:8], "qty": "10.5"}),
        (
            ("amend", ID, "--stop", "149"),
            {"do": "amend", "target": ID, "stop_loss": "149", "take_profit": None, "max_hold_seconds": None},
        ),
        (
            ("amend", ID, "--target", "160", "--max-hold", "60"),
            {"do": "amend", "target": ID, "stop_loss": None, "take_profit": "160", "max_hold_seconds": "60"},
        ),
        (
            ("adopt", "AAPL", "--stop", "140"),
            {"do": "adopt", "symbol": "AAPL", "stop_loss": "140", "take_profit": None},
        ),
        (
            ("adopt", "AAPL", "--stop", "140", "--target", "170"),
            {"do": "adopt", "symbol": "AAPL", "stop_loss": "140", "take_profit": "170"},
        ),
        (
            ("flatten", "--yes", "--reason", "en\x1bough"),
            {"do": "flatten", "symbol": None, "reason": "en?ough"},
        ),
        (("flatten", "AAPL", "--yes"), {"do": "flatten", "symbol": "AAPL", "reason": ""}),
    ],
)
def test_what_is_asked_of_the_daemon(
    hands, daemon, arguments: tuple[str, ...], request_: dict[str, Any]
) -> None:
    accepts(daemon, request_["do"])
    result = hands(*arguments, "--state", daemon.state_dir, "--json")
    assert result.exit_code == 0
    assert daemon.asked == [request_]
    assert result.document["message"] == "66 AAPL are being sold"
    assert result.document["intent_ids"] == [ID]
    plain = hands(*arguments, "--state", daemon.state_dir)
    assert plain.stdout == "66 AAPL are being sold\n"


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        (("amend", ID), ["say what to change"]),
        (("amend", ID, "--stop", "x", "--target", "0"), ["--stop: ", "--target must be above 0"]),
        (("amend", ID, "--max-hold", "-5"), ["--max-hold must be above 0"]),
        (("close", ID, "--qty", "0"), ["--qty must be above 0"]),
        (("adopt", "AAPL", "--stop", "-1", "--target", "many"), ["--stop must be above 0", "--target: "]),
    ],
)
def test_what_makes_no_sense_is_said_at_once_and_not_asked(
    hands, daemon, arguments: tuple[str, ...], problems: list[str]
) -> None:
    result = hands(*arguments, "--state", daemon.state_dir, "--json")
    assert result.exit_code == 2
    assert len(result.document["problems"]) == len(problems)
    assert all(word in found for word, found in zip(problems, result.document["problems"], strict=True))
    assert daemon.asked == []


@pytest.mark.parametrize("arguments", [("adopt", "AAPL"), ("cancel",), ("close",), ("amend",)])
def test_what_is_needed_is_asked_for(hands, arguments: tuple[str, ...]) -> None:
    assert hands(*arguments).exit_code == 2


def test_a_no_exits_1_and_what_cannot_be_meant_2(hands, daemon) -> None:
    daemon.answers["amend"] = {"ok": False, "error": "148 is looser than 149"}
    result = hands("amend", ID, "--stop", "148", "--state", daemon.state_dir, "--json")
    assert (result.exit_code, result.document["error"]) == (1, "148 is looser than 149")
    daemon.answers["cancel"] = {
        "ok": False,
        "usage": True,
        "error": "a; b",
        "problems": ["several begin", "b"],
    }
    result = hands("cancel", "6f9619", "--state", daemon.state_dir)
    assert result.exit_code == 2
    assert result.stderr == "hands: several begin\nhands: b\n"


# --- waiting -------------------------------------------------------------------------------------------------


def test_close_waits_until_it_is_flat(hands, following, state_dir) -> None:
    with following(trade(), trade(), CLOSED):
        result = hands("close", "AAPL", "--wait", "--state", state_dir)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "so be it",
        "  AAPL: CLOSING, 66 held",
        "  AAPL: over by MANUAL at 149.98: -1.32 USD",
    ]
    assert [request["do"] for request in following.asked] == ["close", "trades", "trades", "trades"]


def test_a_wait_ends_where_the_market_is_closed_and_says_so(hands, following, state_dir) -> None:
    waits = trade(waits_for_open="2026-11-23T14:30:00.000000000Z")
    with following(waits):
        result = hands("flatten", "--wait", "--state", state_dir)
        assert result.exit_code == 1
        assert (
            "the stop stays, the exit waits for the open, 2026-11-23 14:30:00.000 UTC"
            in result.stdout.splitlines()[-1]
        )
        document = hands("flatten", "--wait", "--state", state_dir, "--json").document
    assert (document["done"], len(document["waits_for"]), document["trades"]) == (False, 1, [waits])


def test_a_wait_is_bounded_and_says_what_is_missing(hands, following, state_dir) -> None:
    with following(trade()):
        result = hands("close", ID, "--wait", "--timeout", "0.2", "--state", state_dir)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "AAPL: not done yet: The position is being closed."


def test_a_part_is_waited_for_until_it_is_closed(hands, following, state_dir) -> None:
    with following(trade("OPEN", closing_qty="10"), trade("OPEN", position={"qty": "56", "avg_price": "1"})):
        result = hands("close", ID, "--qty", "10", "--wait", "--state", state_dir)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "  AAPL: OPEN, 56 held")


def test_a_part_that_became_all_is_waited_for_until_flat(hands, following, state_dir) -> None:
    wanted = {"reason": "MANUAL", "note": "the rest would be dust", "since": None}
    with following(trade(exit_wanted=wanted), CLOSED):
        result = hands("close", ID, "--qty", "65.99", "--wait", "--state", state_dir, "--json")
    assert (result.exit_code, result.document["trades"], result.document["done"]) == (0, [CLOSED], True)


def test_a_daemon_that_goes_away_meanwhile_is_no_success(hands, state_dir, serve) -> None:
    def handle(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "trades":
            return {"ok": False, "error": "stopping"}
        return {"ok": True, "message": "so be it", "intent_ids": [ID], "trades": [], "state": "ACTIVE"}

    with serve(handle):
        assert hands("close", ID, "--wait", "--state", state_dir).exit_code == 1


# --- asking before a flatten ---------------------------------------------------------------------------------


POSITIONS: dict[str, Any] = {
    "owned": [
        {"symbol": "AAPL", "direction": "LONG", "qty": "66", "mark": "149.98", "unrealised_usd": "-1.32",
         "opens_again": "2026-11-23T14:30:00.000000000Z"},
        {"symbol": "SPY", "direction": "SHORT", "qty": "5", "mark": None, "unrealised_usd": None, "opens_again": None},
    ],
    "unfilled": [{"symbol": "BTC/USD", "state": "ARMED"}],
}  # fmt: skip


def test_a_flatten_says_what_it_will_do() -> None:
    lines = flatten_lines(POSITIONS, None)
    assert "everything that Hands owns" in lines[0]
    assert lines[1] == "  AAPL: sell 66, now about 149.98 (-1.32 USD unrealised)"
    assert "the market is closed: the stop stays, the exit waits for the open, 2026-11-23 14:30" in lines[2]
    assert lines[3:] == [
        "  SPY: buy back 5, now about an unknown price",
        "  BTC/USD: cancel what is ARMED",
    ]
    assert flatten_lines(POSITIONS, "spy")[1:] == ["  SPY: buy back 5, now about an unknown price"]
    assert flatten_lines(POSITIONS, "TSLA")[1:] == ["  nothing is owned, nothing works"]


def test_a_flood_of_what_is_armed_does_not_hide_what_is_sold() -> None:
    armed = [{"symbol": "AAPL", "state": "ARMED"}] * 150
    lines = flatten_lines(POSITIONS | {"unfilled": armed}, None)
    assert len(lines) == 1 + 3 + 20 + 1
    assert "... and 130 more" in lines[-1]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "code", "acts"), [("y\n", 0, 1), ("n\n", 1, 0), ("\n", 1, 0), ("", 130, 0)]
)
def test_on_a_terminal_a_flatten_asks(
    daemon, monkeypatch: pytest.MonkeyPatch, typed: str, code: int, acts: int
) -> None:
    import typer

    accepts(daemon, "flatten")
    daemon.answers["positions"] = {"ok": True, "positions": POSITIONS}
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys, "stderr", Terminal())
    ended = 0
    try:
        trades.flatten(wait=False, state=daemon.state_dir)
    except typer.Exit as error:
        ended = error.exit_code
    assert ended == code
    assert [request["do"] for request in daemon.asked].count("flatten") == acts
    assert "sell 66" in sys.stderr.getvalue()  # type: ignore[attr-defined]


def test_no_terminal_no_question(hands, daemon) -> None:
    accepts(daemon, "flatten")
    assert hands("flatten", "--state", daemon.state_dir).exit_code == 0
    assert [request["do"] for request in daemon.asked] == ["flatten"]
