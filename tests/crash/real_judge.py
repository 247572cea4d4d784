"""The judge of one document's whole story, by the exchange's truth and nothing that the engine says of itself.

Owns what must hold once a trade is over, whatever died meanwhile. May not touch a process. The one idea: every
complaint is one line that says what was found and what was expected; no complaint is the only way to pass.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from hands.cli.demo_truth import CENT, intent_of
from hands.core.orders import parse_client_order_id
from hands.core.units import NANO, mul_floor, nano, usd_text
from hands.core.vocab import Leg
from hands.journal.reader import open_ledger

LIVE = frozenset(
    {"new", "accepted", "held", "partially_filled", "pending_new", "pending_cancel", "pending_replace"}
)
OVER_WITHOUT_FILL = frozenset({"EXPIRED", "CANCELED", "REJECTED", "VENUE_REJECTED"})
DUST_USD = NANO
"""Less than a dollar of a coin cannot be sold at the venue."""

Row = dict[str, Any]


def _id_in(body: Any) -> str:
    """Return the client order id in a submit's body."""
    document = json.loads(body) if isinstance(body, str) else body
    return str(document.get("client_order_id", "")) if isinstance(document, dict) else ""


class Books:
    """The exchange's truth, sorted by intent."""

    def __init__(self, truth: Row) -> None:
        belongs = intent_of(truth)
        self.orders: dict[str, list[Row]] = defaultdict(list)
        self.fills: dict[str, list[Row]] = defaultdict(list)
        self.entries_sent: Counter[str] = Counter()
        for order in truth["orders"]:
            self.orders[belongs.get(order["id"], "")].append(order)
        for fill in truth["fills"]:
            self.fills[belongs.get(fill["order_id"], "")].append(fill)
        for request in truth["requests"]:
            if (request["method"], request["path"]) == ("POST", "/v2/orders"):
                named = parse_client_order_id(_id_in(request["body"]))
                if named is not None and named[1] is Leg.ENTRY:
                    self.entries_sent[named[0]] += 1


class Story:
    """One document, what became of it at the exchange and what Hands wrote of it."""

    def __init__(self, intents: Path, state: Path, books: Books, intent_id: str, document: bytes) -> None:
        self.intents = intents
        self.state = state
        self.intent_id = intent_id
        self.document = document
        self.orders = books.orders.get(intent_id, [])
        self.fills = books.fills.get(intent_id, [])
        self.entries_sent = books.entries_sent[intent_id]

    def cash_flow(self) -> tuple[int, int]:
        """Return (dollars, quantity) that the fills left in the account, in nano-units, fees taken off."""
        dollars = units = 0
        for fill in self.fills:
            sign = 1 if fill["side"] == "buy" else -1
            qty, fee = nano(fill["qty"]), nano(fill["fee"])
            units += sign * qty
            dollars -= sign * mul_floor(qty, nano(fill["price"]))
            if fill["fee_asset"] == "USD":
                dollars -= fee
            else:
                units -= fee
        return dollars, units

    def complaints(self, reason: str | None) -> list[str]:
        """Return everything that is wrong; `reason` is why the trade should have ended, None where any is right."""
        return [
            *self._entries(),
            *self._papers(),
            *self._end(reason),
            *self._ledger(),
        ]

    # --- the exchange --------------------------------------------------------------------------------------

    def _entries(self) -> Iterator[str]:
        entries = [o["client_order_id"] for o in self.orders if "-entry-" in o["client_order_id"]]
        if len(entries) > 1:
            yield f"{len(entries)} entry orders for one intent: {entries}"
        if self.entries_sent > 1:
            yield f"the entry was sent {self.entries_sent} times"
        live = [(o["leg"], o["status"]) for o in self.orders if o["status"] in LIVE]
        if live:
            yield f"orders are left at the exchange: {live}"
        _, units = self.cash_flow()
        if units < 0:
            yield f"more was sold than bought: {units / NANO}"
        price = nano(self.fills[-1]["price"]) if self.fills else 0
        if mul_floor(max(units, 0), price) >= DUST_USD:
            yield f"{units / NANO} are left of it at the exchange"

    # --- papers --------------------------------------------------------------------------------------------

    def _papers(self) -> Iterator[str]:
        filed = sorted((self.intents / "archive").glob(f"*/{self.intent_id}*"))
        if len(filed) != 1 or filed[0].name != f"{self.intent_id}.json":
            yield f"archived {len(filed)} times: {[path.name for path in filed]}"
        elif filed[0].read_bytes() != self.document:
            yield "the archived document is another one"
        left = [path.name for path in self.intents.iterdir() if path.is_file() and path.name != ".gitkeep"]
        if left:
            yield f"left in the drop folder: {left}"
        written = [path.name for path in (self.intents / "receipts").glob(f"{self.intent_id}*")]
        if written != [f"{self.intent_id}.json"]:
            yield f"receipts: {written}"
        refused = self.intents / "refused"
        if refused.exists() and list(refused.iterdir()):
            yield f"refused: {sorted(path.name for path in refused.iterdir())}"

    def receipt(self) -> Row | None:
        """Return what the agent was told last."""
        try:
            found: Row = json.loads((self.intents / "receipts" / f"{self.intent_id}.json").read_text())
        except FileNotFoundError:
            return None
        return found

    def _end(self, reason: str | None) -> Iterator[str]:
        receipt = self.receipt()
        if receipt is None:
            yield "there is no receipt"
            return
        state = receipt["state"]
        if self.fills and state != "CLOSED":
            yield f"it was filled, and its receipt says {state}"
        if not self.fills and state not in OVER_WITHOUT_FILL:
            yield f"it never filled, and its receipt says {state}"
        if self.fills and state == "CLOSED" and reason is not None and receipt["exit"]["reason"] != reason:
            yield f"it ended by {receipt['exit']['reason']}, not by {reason}"

    # --- the ledger ----------------------------------------------------------------------------------------

    def _ask(self, sql: str) -> list[Row]:
        with closing(open_ledger(self.state / "hands.db")) as db:
            return [dict(row) for row in db.execute(sql, (self.intent_id,))]

    def _ledger(self) -> Iterator[str]:
        yield from self._ledger_orders()
        yield from self._ledger_fills()
        episodes = self._ask("SELECT * FROM ledger_trade_episodes WHERE intent_id = ?")
        if len(episodes) != (1 if self.fills else 0):
            yield f"{len(episodes)} episodes of a trade with {len(self.fills)} fills"
        for episode in episodes:
            dollars, left = self.cash_flow()
            worth = dollars + mul_floor(left, episode["exit_price_nano"] or 0)
            said = episode["actual_pnl_nano"]
            if abs(worth - said) >= CENT:
                yield f"P&L {usd_text(said)} USD; the exchange's fills come to {usd_text(worth)}"
        told = self._ask("SELECT state, receipt FROM ledger_intents WHERE intent_id = ?")
        receipt = self.receipt()
        if len(told) != 1:
            yield f"{len(told)} rows in intents"
        elif receipt is not None and told[0]["state"] != receipt["state"]:
            yield f"intents says {told[0]['state']}, the receipt {receipt['state']}"
        aside = self._ask("SELECT * FROM set_aside WHERE ? IS NOT NULL")
        if aside:
            yield f"{len(aside)} ledger rows were set aside: {aside[0]['reason']}"

    def _ledger_orders(self) -> Iterator[str]:
        rows = {row["order_id"]: row for row in self._ask("SELECT * FROM ledger_orders WHERE intent_id = ?")}
        for order in self.orders:
            if not nano(order["filled_qty"]):
                continue
            row = rows.get(order["id"])
            if row is None:
                yield f"no row for the {order['leg']} order {order['client_order_id']}, which filled"
                continue
            found = (row["filled_qty_nano"], row["avg_price_nano"], row["status"])
            true = (nano(order["filled_qty"]), nano(order["filled_avg_price"]), order["status"])
            if found != true:
                yield f"the {row['leg']} order is {found} in the ledger, {true} at the exchange"

    def _ledger_fills(self) -> Iterator[str]:
        rows = self._ask("SELECT * FROM ledger_fills WHERE intent_id = ?")
        found = {row["execution_id"]: (row["qty_nano"], row["price_nano"], row["side"]) for row in rows}
        true = {
            fill["execution_id"]: (nano(fill["qty"]), nano(fill["price"]), fill["side"])
            for fill in self.fills
        }
        missing = [f"{true[key][2]} {true[key][0] / NANO:g}" for key in true if key not in found]
        if missing:
            yield f"fills without a row: {', '.join(missing)}"
        strange = [key for key in found if found[key] != true.get(key, found[key]) or key not in true]
        if strange:
            yield f"rows of fills that the exchange does not know so: {strange}"
