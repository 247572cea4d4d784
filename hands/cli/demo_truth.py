"""The demo's reckoning: what Hands says happened, held against what the exchange knows.

Owns the expectations about orders, protection and money, and the summary. May not trust the daemon: orders, fills
and naked time come from the simulator's truth, episodes from `hands.db`. Money is compared in nano-dollars.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hands.cli.demo_script import Act, Expectation
from hands.core.orders import parse_client_order_id
from hands.core.units import NANO, NS_PER_MS, mul_floor, nano, usd_text
from hands.core.vocab import Leg

CENT = NANO // 100
WORKING = frozenset({"new", "accepted", "held", "partially_filled"})
Truth = dict[str, Any]


def intent_of(truth: Truth) -> dict[str, str]:
    """Return which intent every order of ours at the venue belongs to: by its own id, or its parent's."""
    orders = {order["id"]: order for order in truth["orders"]}
    found: dict[str, str] = {}
    for order_id, order in orders.items():
        root = order
        while parse_client_order_id(root["client_order_id"]) is None and root["parent_id"] in orders:
            root = orders[root["parent_id"]]
        ours = parse_client_order_id(root["client_order_id"])
        if ours is not None:
            found[order_id] = ours[0]
    return found


def cash_flow(truth: Truth, intent_id: str) -> tuple[int, int]:
    """Return (dollars, quantity) that an intent's fills left in the account, in nano-units, fees taken off."""
    belongs = intent_of(truth)
    dollars = units = 0
    for fill in truth["fills"]:
        if belongs.get(fill["order_id"]) != intent_id:
            continue
        sign = 1 if fill["side"] == "buy" else -1
        qty, value, fee = (
            nano(fill["qty"]),
            mul_floor(nano(fill["qty"]), nano(fill["price"])),
            nano(fill["fee"]),
        )
        units += sign * qty
        dollars -= sign * value
        if fill["fee_asset"] == "USD":
            dollars -= fee
        else:
            units -= fee
    return dollars, units


def episodes(state_dir: Path) -> list[dict[str, Any]]:
    """Return the finished trades of the ledger, money exact in nano-dollars."""
    from contextlib import closing

    from hands.journal.reader import open_ledger

    sql = (
        "SELECT intent_id, asset, exit_reason, actual_pnl_nano, exit_price_nano, qty_nano"
        " FROM ledger_trade_episodes ORDER BY closed_at_ns"
    )
    with closing(open_ledger(state_dir / "hands.db")) as db:
        return [dict(row) for row in db.execute(sql)]


def reckon(
    acts: list[Act], truth: Truth, finished: list[dict[str, Any]], naked_max_ms: int
) -> list[Expectation]:
    """Return every expectation about orders, protection and money."""
    return [*_orders(acts, truth), *_protection(truth, naked_max_ms), *_money(acts, truth, finished)]


def _expect(what: str, expected: object, found: object) -> Expectation:
    return Expectation(what, str(expected), str(found), expected == found)


def _orders(acts: list[Act], truth: Truth) -> Iterable[Expectation]:
    """Exactly one entry at the venue for each accepted intent, and nothing for anything else."""
    accepted = sorted({act.dropped.intent_id for act in acts if act.expected == "OK"})
    entries = []
    for order in truth["orders"]:
        ours = parse_client_order_id(order["client_order_id"])
        if ours is not None and ours[1] is Leg.ENTRY:
            entries.append(ours[0])
    yield _expect("entries at the venue, one for each accepted intent", accepted, sorted(entries))
    belongs = intent_of(truth)
    strangers = [order["id"] for order in truth["orders"] if belongs.get(order["id"]) not in accepted]
    yield _expect("orders at the venue that belong to nothing accepted", [], strangers)


def _protection(truth: Truth, naked_max_ms: int) -> Iterable[Expectation]:
    for symbol, naked in sorted(truth["naked"].items()):
        longest_ms = naked["naked_max_ns"] / NS_PER_MS
        within = longest_ms <= naked_max_ms
        yield Expectation(
            f"{symbol}: longest time without a stop", f"<= {naked_max_ms} ms", f"{longest_ms:.1f} ms", within
        )
    for position in truth["positions"]:
        held = nano(position["qty"])
        value = mul_floor(abs(held), nano(position["current_price"]))
        if value < NANO:
            continue  # less than a dollar of a coin: nothing at the venue could protect it
        stops = sum(
            nano(order["qty"]) - nano(order["filled_qty"])
            for order in truth["orders"]
            if order["symbol"].replace("/", "") == position["symbol"]
            and order["stop_price"] is not None
            and order["status"] in WORKING
        )
        protected = stops >= held > 0
        yield Expectation(f"{position['symbol']}: protected", position["qty"], str(stops / NANO), protected)


def _money(acts: list[Act], truth: Truth, finished: list[dict[str, Any]]) -> Iterable[Expectation]:
    """Every episode's P&L is what the venue's fills come to, to the cent; what is left over counts at the exit's price."""
    closed = {act.dropped.intent_id for act in acts if act.state == "CLOSED"}
    yield _expect(
        "trades in the ledger, one for each that ended",
        sorted(closed),
        sorted(episode["intent_id"] for episode in finished),
    )
    for episode in finished:
        dollars, left = cash_flow(truth, episode["intent_id"])
        worth = dollars + mul_floor(left, episode["exit_price_nano"] or 0)
        said = episode["actual_pnl_nano"]
        same = abs(worth - said) < CENT
        what = f"{episode['asset']}: P&L of the {episode['exit_reason']} trade is the exchange's"
        yield Expectation(what, f"{usd_text(worth)} USD", f"{usd_text(said)} USD", same)


def summary(
    acts: list[Act], truth: Truth, finished: list[dict[str, Any]], expectations: list[Expectation]
) -> dict[str, Any]:
    """Return the demo's summary, without its time and place."""
    from hands.runtime.status import span_percentiles

    stamps = [
        act.receipt["stamps_ns"]
        for act in acts
        if act.receipt is not None and act.file != "03-touch.json" and act.code != "DUPLICATE_INTENT"
    ]
    pnl = sum(episode["actual_pnl_nano"] for episode in finished)
    return {
        "event": "summary",
        "ok": all(expectation.ok for expectation in expectations),
        "verdicts": dict(sorted(Counter(act.code or "NONE" for act in acts).items())),
        "documents": [
            {
                "file": act.file,
                "what": act.label,
                "expected": act.expected,
                "code": act.code,
                "message": None if act.receipt is None else act.receipt["message"],
            }
            for act in acts
        ],
        "trades": [
            {
                "asset": episode["asset"],
                "exit": episode["exit_reason"],
                "pnl_usd": usd_text(episode["actual_pnl_nano"]),
                "intent_id": episode["intent_id"],
            }
            for episode in finished
        ],
        "pnl_usd": usd_text(pnl),
        "equity_usd": truth["account"]["equity"],
        "open": [{"symbol": p["symbol"], "qty": p["qty"]} for p in truth["positions"]],
        "latency_us": span_percentiles(stamps),
        "orders_at_venue": len(truth["orders"]),
        "fills_at_venue": len(truth["fills"]),
        "naked_max_ms": {
            symbol: round(naked["naked_max_ns"] / NS_PER_MS, 1) for symbol, naked in truth["naked"].items()
        },
        "expectations": [
            {"what": e.what, "expected": e.expected, "found": e.found, "ok": e.ok} for e in expectations
        ],
    }
