"""Which limits can bind at all: the ones that another always stops first, and the ones that are switched off.

Owns the arithmetic between limits. May not judge an intent: that is the guardian's. The one idea: a limit that can
never be the reason for a "no" protects nobody, however small its number looks, so its owner is told. With a position of
at most 10 % of the equity, a risk of 2 % is only reached by a stop more than 20 % away.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from hands.core.limits import Limits, LimitsFile
from hands.core.units import NANO, usd_text
from hands.core.venue_rules import fee_rate
from hands.core.vocab import AssetClass


class Binding(NamedTuple):
    """Whether a limit can be the reason for a "no" ("yes", "only", "never", "always"), and why not or only when."""

    can: str
    why: str = ""


YES = Binding("yes")
_NOTHING_ENTERS = frozenset(
    {
        "max_risk_per_trade", "max_position_size", "max_gross_exposure", "max_order_notional_usd", "max_daily_trades",
        "max_concurrent", "max_daily_loss", "orders_per_minute", "ttl_seconds", "max_stop_distance",
    }
)  # fmt: skip
"""Where 0 is not "off" but "nothing at all"."""

_OFF_AT_ZERO = {
    "min_stop_distance": "any stop is far enough",
    "min_reward_risk": "any reward is enough",
    "min_confidence": "any confidence is enough",
    "semantic_duplicate_s": "the same idea may come again at once",
    "cooldown_after_stop_s": "a stop is followed by no pause",
}
_ONE = {
    "max_stop_distance": Binding("only", "for a SHORT: a LONG's stop cannot be further away than its price"),
    "price_collar": Binding("only", "for a trigger at more than twice the mid"),
    "max_spread": Binding("only", "for a spread wider than the mid itself"),
    "max_daily_loss": Binding("only", "when everything is lost"),
    "max_drawdown": Binding("only", "when everything is lost"),
    "min_confidence": Binding("yes", "only full confidence passes"),
}
"""What a limit of 1 (100 %) means: often a percentage that was meant as one."""


class _Setting(NamedTuple):
    """What the arithmetic is done on; shares are of E, `equity` is E itself where it is known."""

    limits: Limits
    file: LimitsFile
    equity: int | None
    symbol: str | None

    @property
    def coins(self) -> bool:
        """Whether a coin may be entered at all."""
        return any("/" in symbol for symbol in ((self.symbol,) if self.symbol else self.file.allow))

    @property
    def risk(self) -> Fraction:
        return Fraction(self.limits.max_risk_per_trade, NANO)

    @property
    def farthest(self) -> Fraction:
        """The most that can be lost of an entry's notional by plan: stop distance, and in coins offset and fees."""
        stop = Fraction(min(self.limits.max_stop_distance, NANO), NANO)
        if not self.coins:
            return stop
        offset = (1 - stop) * Fraction(self.limits.stop_limit_offset, NANO)
        return stop + offset + 2 * Fraction(fee_rate(AssetClass.CRYPTO), NANO)

    def caps(self, without: str = "") -> dict[str, Fraction]:
        """Return the caps on one position's notional, but for `without`."""
        found = {
            "max_position_size": Fraction(self.limits.max_position_size, NANO),
            "max_gross_exposure": Fraction(self.limits.max_gross_exposure, NANO),
        }
        if self.equity:
            found["max_order_notional_usd"] = Fraction(self.limits.max_order_notional_usd, self.equity)
        found.pop(without, None)
        return found

    @property
    def trades(self) -> int:
        """The most trades that can live at once: one per symbol."""
        return min(self.limits.max_concurrent, len(self.file.allow))


def binding(
    name: str, limits: Limits, file: LimitsFile, equity: int | None, symbol: str | None = None
) -> Binding:
    """Return whether the hard limit `name` can bind (on `symbol`), with E = `equity` (nano-dollars) where it is known."""
    value = getattr(limits, name)
    if value == 0 and name in _NOTHING_ENTERS:
        return Binding("always", "nothing can be entered")
    if value == 0 and name in _OFF_AT_ZERO:
        return Binding("never", f"off: {_OFF_AT_ZERO[name]}")
    if value >= NANO and name in _ONE:
        return _ONE[name]
    rule = _RULES.get(name)
    return YES if rule is None else rule(_Setting(limits, file, equity, symbol))


def _least(caps: dict[str, Fraction]) -> tuple[str, Fraction]:
    name = min(caps, key=lambda cap: caps[cap])
    return name, caps[name]


def _risk(on: _Setting) -> Binding:
    first, share = _least(on.caps())
    if not share:
        return Binding("never", f"{first} is 0")
    beyond = on.risk / share
    if beyond >= on.farthest:
        most = f"what can be lost of an order by plan is at most {_percent(on.farthest)}"
        return Binding("never", f"{first} binds first up to a stop {_percent(beyond)} away; {most}")
    return Binding("only", f"beyond a stop {_percent(beyond)} away, fees included; nearer, {first} binds")


def _position(on: _Setting) -> Binding:
    share = on.caps()["max_position_size"]
    first, other = _least(on.caps("max_position_size"))
    if other <= share:
        return Binding("never", f"{first} is no more ({_percent(other)} of the equity)")
    nearest = Fraction(on.limits.min_stop_distance, NANO)
    if nearest and on.risk / nearest <= share:
        return Binding("never", "max_risk_per_trade binds first, however near the stop")
    return YES


def _order_notional(on: _Setting) -> Binding:
    if not on.equity:
        return Binding("yes", "depends on the equity, which is not known here")
    share = on.caps()["max_order_notional_usd"]
    first, other = _least(on.caps("max_order_notional_usd"))
    if other <= share:
        most = usd_text(int(other * on.equity))
        return Binding("never", f"{first} is no more than {most} USD at an equity of {usd_text(on.equity)}")
    return YES


def _exposure(on: _Setting) -> Binding:
    first, share = _least(on.caps("max_gross_exposure"))
    if on.trades * share <= on.caps()["max_gross_exposure"]:
        words = f"{on.trades} trades at once of {_percent(share)} each ({first})"
        return Binding("only", f"once equity has fallen: {words} are no more")
    return YES


def _concurrent(on: _Setting) -> Binding:
    if on.limits.max_concurrent >= len(on.file.allow):
        return Binding("never", f"one live trade per symbol, and {len(on.file.allow)} symbols are allowed")
    return YES


def _daily_loss(on: _Setting) -> Binding:
    planned = min(on.risk, _least(on.caps())[1] * on.farthest) * on.limits.max_daily_trades
    if planned < Fraction(on.limits.max_daily_loss, NANO):
        words = f"{on.limits.max_daily_trades} trades that are all stopped out lose {_percent(planned)}"
        return Binding("only", f"by gaps, or with trades of the day before: {words}")
    return YES


def _daily_trades(on: _Setting) -> Binding:
    if on.limits.max_daily_trades >= on.limits.orders_per_minute * 24 * 60:
        return Binding("never", "orders_per_minute allows no more in a day")
    return YES


def _arming(on: _Setting) -> Binding:
    return Binding("always", "no touch may wait") if not on.limits.max_arm_seconds else YES


def _offset(on: _Setting) -> Binding:
    if not on.coins:
        return Binding("never", "no coin is allowed")
    return Binding("yes", "sets the worst exit of coins, by which they are sized")


def _capital(on: _Setting) -> Binding:
    if not on.limits.capital_usd:
        return Binding("never", "off: the whole account")
    if on.equity and on.limits.capital_usd > on.equity:
        return Binding("never", f"the equity is only {usd_text(on.equity)} USD")
    return YES


_RULES: dict[str, Callable[[_Setting], Binding]] = {
    "max_risk_per_trade": _risk,
    "max_position_size": _position,
    "max_order_notional_usd": _order_notional,
    "max_gross_exposure": _exposure,
    "max_concurrent": _concurrent,
    "max_daily_loss": _daily_loss,
    "max_daily_trades": _daily_trades,
    "max_arm_seconds": _arming,
    "stop_limit_offset": _offset,
    "capital_usd": _capital,
}


def _percent(share: Fraction) -> str:
    return f"{float(100 * share):.4g} %"
