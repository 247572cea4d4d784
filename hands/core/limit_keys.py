"""The keys of the limits file: name, shipped value, unit, range, tighter direction, and what each one means.

Owns the contract's table (its §5), one row per key, and the session's rules in the same form. May not read a file:
that is `hands.core.limits`. The one idea: whatever speaks of a limit (the reading, the comparison, `hands limits`, the
comment in the shipped file) takes its words from here, so they cannot say different things.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from hands.core.units import NANO, NS_PER_MS, NS_PER_S


class Unit(StrEnum):
    """How a key's number is stored: `scale` x its value, as int."""

    FRACTION = "fraction"
    USD = "usd"
    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    COUNT = "count"

    @property
    def scale(self) -> int:
        return {"fraction": NANO, "usd": NANO, "seconds": NS_PER_S, "milliseconds": NS_PER_MS, "count": 1}[
            self
        ]


class LimitKey(msgspec.Struct, frozen=True):
    """One row of the contract's table. `tighter` is -1 (lower), +1 (higher) or 0 (neither)."""

    name: str
    shipped: str
    unit: Unit
    low: str
    high: str
    tighter: int
    meaning: str

    @property
    def line(self) -> str:
        """The line to paste where the key is missing."""
        return f"{self.name} = {self.shipped}"


# fmt: off
LIMIT_KEYS: tuple[LimitKey, ...] = (
    LimitKey("max_risk_per_trade", "0.02", Unit.FRACTION, "0", "0.5", -1,
             "of E: what is lost if the stop is hit, fees both ways included"),
    LimitKey("max_position_size", "0.10", Unit.FRACTION, "0", "1", -1,
             "of E: notional per symbol"),
    LimitKey("max_slippage_pct", "0.001", Unit.FRACTION, "0", "0.05", -1,
             "how far the limit may reach beyond the trigger or the quote, whichever is nearer"),
    LimitKey("ttl_seconds", "15", Unit.SECONDS, "0", "3600", -1,
             "longest life an intent may ask for"),
    LimitKey("max_daily_trades", "5", Unit.COUNT, "0", "1e6", -1,
             "counted at approval, given back if nothing filled"),
    LimitKey("max_concurrent", "3", Unit.COUNT, "0", "1e4", -1,
             "trades from approval until flat"),
    LimitKey("max_daily_loss", "0.04", Unit.FRACTION, "0", "1", -1,
             "of equity at the roll; reached: reduce-only until the roll"),
    LimitKey("max_drawdown", "0.10", Unit.FRACTION, "0", "1", -1,
             "from the peak of capital + owned P&L; reached: halted, until the operator resumes"),
    LimitKey("max_gross_exposure", "0.30", Unit.FRACTION, "0", "10", -1,
             "of E, all symbols; in flight counts as filled"),
    LimitKey("max_order_notional_usd", "25000", Unit.USD, "0", "1e9", -1,
             "dollars in one order"),
    LimitKey("max_stop_distance", "0.20", Unit.FRACTION, "0", "1", -1,
             "of the limit: further away, the risk cap would not bind"),
    LimitKey("min_stop_distance", "0.001", Unit.FRACTION, "0", "1", +1,
             "of the limit: closer, noise would hit the stop"),
    LimitKey("min_reward_risk", "1.0", Unit.FRACTION, "0", "100", +1,
             "reward over risk from the limit, after fees"),
    LimitKey("min_confidence", "0.60", Unit.FRACTION, "0", "1", +1,
             "below it an intent is not traded"),
    LimitKey("price_collar", "0.02", Unit.FRACTION, "0", "1", -1,
             "how far the trigger may lie from the mid"),
    LimitKey("max_spread", "0.005", Unit.FRACTION, "0", "1", -1,
             "of mid"),
    LimitKey("quote_age_max_ms", "5000", Unit.MILLISECONDS, "1", "600000", -1,
             "older quotes are not traded on"),
    LimitKey("account_age_max_ms", "15000", Unit.MILLISECONDS, "1", "600000", -1,
             "older account figures: not ready"),
    LimitKey("clock_skew_max_ms", "2000", Unit.MILLISECONDS, "0", "60000", -1,
             "how far in the future a timestamp may lie"),
    LimitKey("orders_per_minute", "60", Unit.COUNT, "0", "1e6", -1,
             "entries approved; exits, cancels and questions are not counted here"),
    LimitKey("semantic_duplicate_s", "30", Unit.SECONDS, "0", "86400", +1,
             "same symbol, direction and rounded prices under another id: denied for so long"),
    LimitKey("cooldown_after_stop_s", "0", Unit.SECONDS, "0", "86400", +1,
             "pause per symbol after a stop was hit"),
    LimitKey("rejections_latch", "20", Unit.COUNT, "1", "1e6", -1,
             "faulty documents in a row until an agent is latched"),
    LimitKey("partial_grace_ms", "400", Unit.MILLISECONDS, "0", "15000", -1,
             "wait after a partial fill before the remainder is cancelled"),
    LimitKey("unprotected_max_ms", "2000", Unit.MILLISECONDS, "100", "60000", -1,
             "longest a filled share may be without its stop; then the position is closed"),
    LimitKey("max_arm_seconds", "3600", Unit.SECONDS, "0", "86400", -1,
             "longest a touch intent may wait for its price"),
    LimitKey("stop_limit_offset", "0.01", Unit.FRACTION, "0.0005", "0.2", 0,
             "crypto: how far the protective stop-limit's limit lies beyond its stop"),
    LimitKey("capital_usd", "0", Unit.USD, "0", "1e12", 0,
             "what Hands may consider its own; 0: the whole account"),
)
SESSION_KEYS: tuple[LimitKey, ...] = (
    LimitKey("no_entry_first_s", "0", Unit.SECONDS, "0", "23400", +1, "after the open"),
    LimitKey("no_entry_last_s", "60", Unit.SECONDS, "0", "23400", +1, "before the close"),
    LimitKey("flatten_before_close_s", "0", Unit.SECONDS, "0", "23400", +1,
             "0 holds overnight: stops do not protect from gaps"),
)
# fmt: on
KEY_BY_NAME = {key.name: key for key in LIMIT_KEYS}

ACCOUNT_WIDE = frozenset({"capital_usd", "account_age_max_ms", "clock_skew_max_ms", "max_drawdown"})
"""Keys that describe the account or the machine and cannot differ between agents or symbols."""
