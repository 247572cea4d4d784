"""What was refused and what it would have come to: the ledger's rejections as the trades they would have been.

Owns the questions behind `hands gates` and the nightly look back; reads only. May not value anything: that is
`hands.core.hindsight`. The one idea: a document says what it wanted and the scene kept with its rejection what it met;
where an older ledger kept no scene, the document's own prices stand for both.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from hands.core.hindsight import Hindsight, Refused, Result, Scene, sized_without
from hands.core.intents import Intent, read_document
from hands.core.units import NumberError, mul_ceil, nano
from hands.core.venue_rules import fee_rate
from hands.core.vocab import AssetClass, Code

SINCE_VERSION = 2
"""The ledger's version that first kept what was found in hindsight."""

_RESULTS = frozenset(str(result) for result in Result)

_REFUSED = """
SELECT r.at_ns, r.agent, r.code, r.detail, i.intent_id, i.received_ns, i.document, i.receipt
FROM ledger_rejections r JOIN ledger_intents i ON i.intent_id = r.intent_id AND i.code = r.code
WHERE i.verdict = 'REJECTED' AND i.kind = 'intent' AND r.at_ns >= ? AND r.at_ns < ? ORDER BY r.number
"""


def refusals(db: sqlite3.Connection, from_ns: int, to_ns: int) -> Iterator[Refused]:
    """Yield the intents that a check refused in that time, oldest first. Raises sqlite3.Error.

    One whose document this version cannot read any more is left out.
    """
    for row in db.execute(_REFUSED, (from_ns, to_ns)):
        document = (row["document"] or "").encode("utf-8", "replace")
        intent, detail = read_document(document), _object(row["detail"])
        if isinstance(intent, Intent) and isinstance(detail.get("check"), str):
            yield _refused(dict(row), intent, detail)


def noted(db: sqlite3.Connection, from_ns: int, to_ns: int) -> dict[str, Hindsight]:
    """Return what has been found of the refusals of that time, by intent; a result this version does not know is left out.

    Raises sqlite3.Error.
    """
    if db.execute("PRAGMA user_version").fetchone()[0] < SINCE_VERSION:
        return {}
    rows = db.execute(
        "SELECT h.* FROM ledger_hindsight h JOIN ledger_rejections r ON r.intent_id = h.intent_id"
        " WHERE r.at_ns >= ? AND r.at_ns < ?",
        (from_ns, to_ns),
    )
    return {
        row["intent_id"]: Hindsight(
            result=Result(row["result"]),
            entry=row["entry_price_nano"],
            exit=row["exit_price_nano"],
            r=row["r_nano"],
            usd=row["usd_nano"],
            sized=row["sized"],
            ended_ns=row["ended_ns"],
        )
        for row in rows
        if row["result"] in _RESULTS
    }


def hindsight_row(intent_id: str, found: Hindsight, noted_ns: int) -> dict[str, object]:
    """Return the row of the view `hindsight` that says what was found."""
    return {
        "intent_id": intent_id,
        "result": str(found.result),
        "entry_price": found.entry,
        "exit_price": found.exit,
        "r": found.r,
        "usd": found.usd,
        "sized": found.sized,
        "ended_ns": found.ended_ns,
        "noted_ns": noted_ns,
    }


def _object(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _refused(row: dict[str, Any], intent: Intent, detail: dict[str, Any]) -> Refused:
    receipt, scene, at_ns = _object(row["receipt"]), _scene(detail), int(row["at_ns"])
    fee = fee_rate(AssetClass.CRYPTO if "/" in intent.asset else AssetClass.EQUITY)
    arming = intent.entry == "touch" and (scene is None or scene.arming)
    anew = row["code"] == Code.EXPIRED or intent.entry == "touch"
    born_ns = min(intent.timestamp_ns, at_ns if row["received_ns"] is None else row["received_ns"])
    risk = abs(intent.trigger_price - intent.stop_loss)
    if fee:
        risk += mul_ceil(intent.trigger_price + intent.stop_loss, fee)
    said = Scene() if scene is None else scene
    armed_from_ns = at_ns if row["code"] == Code.EXPIRED else min(born_ns, at_ns)
    return Refused(
        intent_id=row["intent_id"],
        at_ns=at_ns,
        check=detail["check"],
        code=row["code"],
        agent=row["agent"],
        symbol=intent.asset,
        venue=str(receipt.get("venue", "")),
        is_long=intent.is_long,
        trigger=intent.trigger_price,
        limit=_nano(said.limit_price) or intent.trigger_price,
        stop=_nano(said.stop_loss) or intent.stop_loss,
        target=_nano(said.take_profit) or intent.take_profit,
        unit_risk=risk if said.unit_risk is None else _nano(said.unit_risk) or 0,
        deadline_ns=(at_ns if anew else born_ns) + intent.ttl_ns,
        ttl_ns=intent.ttl_ns,
        fee_rate=fee,
        bid=_nano(said.bid) if said.can_trade else None,
        ask=_nano(said.ask) if said.can_trade else None,
        arming_until_ns=armed_from_ns + (intent.arm_ns or intent.ttl_ns) if arming else None,
        max_hold_ns=intent.max_hold_ns,
        qty=_qty(detail["check"], receipt.get("sizing")),
        equity=_nano(said.equity),
    )


def _scene(detail: dict[str, Any]) -> Scene | None:
    try:
        return msgspec.convert(detail.get("scene"), Scene)
    except msgspec.ValidationError:
        return None


def _nano(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return nano(text)
    except NumberError:
        return None


def _qty(check: str, sizing: Any) -> int | None:
    """Return what sizing would have left, by the receipt's caps."""
    if not isinstance(sizing, dict) or not isinstance(sizing.get("caps"), dict):
        return None
    caps = {name: _nano(str(qty)) or 0 for name, qty in sizing["caps"].items()}
    return sized_without(check, sizing.get("binding"), caps)
