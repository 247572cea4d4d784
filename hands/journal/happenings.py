"""What happened, in order: the ledger's rows as one log, for `hands log` and `hands orders`.

Owns what counts as a happening and how grave it is; reads only, so it works with the daemon down. May not guess: the
ledger keeps verdicts, orders, fills, changes of the trading state, alerts and finished trades, and nothing else is
told. The one idea: a happening has a key of its own, so that a reader who asks again and again shows each once, however
late the projection wrote it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

Happening = dict[str, Any]

INFO, WARNING, CRITICAL = "info", "warning", "critical"
LEVELS = (INFO, WARNING, CRITICAL)

SHOWN_MAX = 5_000
"""The newest so many are told at once."""

OVER = ("filled", "canceled", "expired", "replaced", "rejected")
"""The venue's words for orders that cannot fill any more."""

_MESSAGE = "CASE WHEN json_valid(i.receipt) THEN json_extract(i.receipt, '$.message') END"
"""The receipt's, as it was last written: of an accepted intent it tells of its end, not of its verdict."""

_DECIDED = """coalesce(min(i.decided_ns, (SELECT created_ns FROM ledger_orders o WHERE o.intent_id = i.intent_id
    AND o.leg = 'entry')), i.decided_ns, i.received_ns)"""
"""Never after the order that followed: a trade that is over says when its decision was done, a little later."""

_HAPPENED = """
SELECT * FROM (
  SELECT 'verdict' AS kind, 'verdict ' || i.intent_id AS key, {decided} AS at_ns,
    'info' AS level, i.symbol, i.intent_id, i.agent, i.code, i.verdict || ' ' || i.code
      || CASE WHEN i.kind <> 'intent' THEN ' (' || i.kind || ')' WHEN i.verdict = 'ACCEPTED' THEN ': ' || i.direction
        || iif(i.trigger_price IS NULL, '', printf(', trigger %.15g', i.trigger_price))
        || iif(i.stop_loss IS NULL, '', printf(', stop %.15g', i.stop_loss))
        || iif(i.take_profit IS NULL, '', printf(', target %.15g', i.take_profit)) ELSE '' END
      || CASE WHEN i.kind = 'intent' AND i.verdict = 'ACCEPTED' THEN '' ELSE coalesce(': ' || {message}, '') END AS text
  FROM intents i WHERE coalesce(i.decided_ns, i.received_ns) >= :since
  UNION ALL
  SELECT 'unfilled', 'unfilled ' || i.intent_id, i.updated_ns, iif(i.state = 'VENUE_REJECTED', 'warning', 'info'),
    i.symbol, i.intent_id, i.agent, i.state, 'over unfilled, ' || i.state || coalesce(': ' || {message}, '')
  FROM intents i WHERE i.updated_ns >= :since AND i.kind = 'intent' AND i.verdict = 'ACCEPTED'
    AND i.state IN ('EXPIRED', 'CANCELED', 'VENUE_REJECTED')
  UNION ALL
  SELECT 'refused', 'refused ' || coalesce(r.intent_id, '') || ' ' || r.code || ' ' || r.at_ns, r.at_ns, 'warning', NULL,
    r.intent_id, r.agent, r.code, 'REFUSED ' || r.code || coalesce(': '
      || CASE WHEN json_valid(r.detail) THEN json_extract(r.detail, '$.message') END, '')
  FROM rejections r WHERE r.at_ns >= :since
    AND NOT EXISTS (SELECT 1 FROM intents i WHERE i.intent_id = r.intent_id AND i.code = r.code)
  UNION ALL
  SELECT 'order', 'order ' || client_order_id, created_ns, 'info', symbol, intent_id, NULL, leg,
    leg || ' order: ' || side || printf(' %.15g ', qty) || order_type
      || iif(limit_price IS NULL, '', printf(' at %.15g', limit_price))
      || iif(stop_price IS NULL, '', printf(', stop %.15g', stop_price))
  FROM orders WHERE created_ns >= :since
  UNION ALL
  SELECT 'order_end', 'end ' || client_order_id, updated_ns,
    CASE status WHEN 'rejected' THEN 'warning' ELSE 'info' END, symbol, intent_id, NULL, status,
    leg || ' order ' || status || printf(' with %.15g of %.15g filled', filled_qty, qty)
  FROM orders WHERE updated_ns >= :since AND status IN ('canceled', 'expired', 'replaced', 'rejected')
  UNION ALL
  SELECT 'fill', 'fill ' || execution_id, at_ns, 'info', symbol, intent_id, NULL, leg,
    leg || ' filled: ' || side || printf(' %.15g at %.15g', qty, price)
  FROM fills WHERE at_ns >= :since
  UNION ALL
  SELECT 'state', 'state ' || number, at_ns,
    CASE WHEN event <> 'set' THEN 'info' WHEN state = 'HALTED' THEN 'critical' WHEN state = 'ACTIVE' THEN 'info'
      ELSE 'warning' END,
    NULL, NULL, NULL, reason,
    reason || ' ' || event || '; trading is ' || state || CASE coalesce(detail, '') WHEN '' THEN '' ELSE ': ' || detail END
  FROM ledger_states WHERE at_ns >= :since{alerts}
  UNION ALL
  SELECT 'trade', 'trade ' || t.intent_id, l.closed_at_ns,
    CASE WHEN t.exit_reason IN ('LIQUIDATED', 'HALT') THEN 'warning' ELSE 'info' END, t.asset, t.intent_id, t.agent,
    t.exit_reason, 'trade over by ' || t.exit_reason || iif(t.exit_price IS NULL, '', printf(' at %.15g', t.exit_price))
      || iif(t.actual_pnl IS NULL, '', printf(': %.2f USD', t.actual_pnl))
  FROM trade_episodes t JOIN ledger_trade_episodes l ON l.intent_id = t.intent_id WHERE l.closed_at_ns >= :since
) WHERE level IN (:info, :warning, :critical) ORDER BY at_ns DESC, key DESC LIMIT :most
""".replace("{message}", _MESSAGE).replace("{decided}", _DECIDED)

_ALERTS = """
  UNION ALL
  SELECT 'alert', 'alert ' || number, at_ns, level, NULL, NULL, NULL, code, code || ': ' || message
  FROM ledger_alerts WHERE at_ns >= :since AND (at_ns, code) NOT IN (
    SELECT at_ns, iif(reason = 'LIMITS', 'LIMITS_' || upper(event), reason) FROM ledger_states WHERE at_ns >= :since)"""
"""Without those that say again what a change of the trading state says."""

_ALERTS_SINCE = 3
"""The version of the ledger that has them; one that was written before can be read too, until a daemon opens it."""


def happenings(
    db: sqlite3.Connection, since_ns: int, *, level: str = INFO, most: int = SHOWN_MAX
) -> list[Happening]:
    """Return what happened since then at `level` or graver, oldest first: the newest `most`. Raises sqlite3.Error."""
    least = LEVELS.index(level)
    wanted = {name: name if n >= least else None for n, name in enumerate(LEVELS)}
    has_alerts = db.execute("PRAGMA user_version").fetchone()[0] >= _ALERTS_SINCE
    sql = _HAPPENED.replace("{alerts}", _ALERTS if has_alerts else "")
    rows = db.execute(sql, {"since": since_ns, "most": most} | wanted)
    return sorted((dict(row) for row in rows), key=_when)


_OF_ONE_MOMENT = ("verdict", "refused", "order", "fill", "order_end", "unfilled", "trade", "state", "alert")
"""What one decision can bring about, in the order in which it does."""


def _when(each: Happening) -> tuple[int, int, str]:
    return each["at_ns"], _OF_ONE_MOMENT.index(each["kind"]), each["key"]


class Tail:
    """Tells what is new each time it is asked, each happening once, however late its row was written.

    `window_ns` is how far behind its time a row may be written and still be told.
    """

    def __init__(self, since_ns: int, *, level: str = INFO, window_ns: int = 120 * 10**9) -> None:
        self._from_ns = since_ns
        self._level = level
        self._window_ns = window_ns
        self._told: dict[str, int] = {}

    def new(self, db: sqlite3.Connection) -> Iterator[Happening]:
        """Yield what was not told before, oldest first. Raises sqlite3.Error."""
        found = happenings(db, self._from_ns, level=self._level)
        for each in found:
            if each["key"] not in self._told:
                self._told[each["key"]] = each["at_ns"]
                yield each
        if found:
            self._from_ns = max(self._from_ns, found[-1]["at_ns"] - self._window_ns)
            self._told = {key: at_ns for key, at_ns in self._told.items() if at_ns >= self._from_ns}


def orders(db: sqlite3.Connection, *, every: bool, most: int = SHOWN_MAX) -> list[Happening]:
    """Return the orders that could still fill as far as the ledger knows, oldest first; with `every` all of them.

    Raises sqlite3.Error.
    """
    marks = ", ".join("?" * len(OVER))
    where = "" if every else f"WHERE status NOT IN ({marks})"
    sql = f"SELECT * FROM orders {where} ORDER BY created_ns DESC, client_order_id DESC LIMIT ?"  # noqa: S608  (words of ours)
    return [dict(row) for row in db.execute(sql, (*(() if every else OVER), most))][::-1]
