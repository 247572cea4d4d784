"""The hard limits: what they are, what they may be, and which direction is tighter.

Owns the table of keys (the contract's §5, one row each), the strict reading of the limits file's text, and the
merging of an agent's or a symbol's tighter values. May not read files; the shell hands over the text.
The one idea: a limit that is missing, unknown or out of range refuses to start, so none can be silently absent.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from hands.core.units import NANO, NS_PER_MS, NS_PER_S, NumberError, nano_from_decimal, parse_decimal


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


LIMIT_KEYS: tuple[LimitKey, ...] = (
    LimitKey("max_risk_per_trade", "0.02", Unit.FRACTION, "0", "0.5", -1),
    LimitKey("max_position_size", "0.10", Unit.FRACTION, "0", "1", -1),
    LimitKey("max_slippage_pct", "0.001", Unit.FRACTION, "0", "0.05", -1),
    LimitKey("ttl_seconds", "15", Unit.SECONDS, "0", "3600", -1),
    LimitKey("max_daily_trades", "5", Unit.COUNT, "0", "1e6", -1),
    LimitKey("max_concurrent", "3", Unit.COUNT, "0", "1e4", -1),
    LimitKey("max_daily_loss", "0.04", Unit.FRACTION, "0", "1", -1),
    LimitKey("max_drawdown", "0.10", Unit.FRACTION, "0", "1", -1),
    LimitKey("max_gross_exposure", "0.30", Unit.FRACTION, "0", "10", -1),
    LimitKey("max_order_notional_usd", "25000", Unit.USD, "0", "1e9", -1),
    LimitKey("max_stop_distance", "0.20", Unit.FRACTION, "0", "1", -1),
    LimitKey("min_stop_distance", "0.001", Unit.FRACTION, "0", "1", +1),
    LimitKey("min_reward_risk", "1.0", Unit.FRACTION, "0", "100", +1),
    LimitKey("min_confidence", "0.60", Unit.FRACTION, "0", "1", +1),
    LimitKey("price_collar", "0.02", Unit.FRACTION, "0", "1", -1),
    LimitKey("max_spread", "0.005", Unit.FRACTION, "0", "1", -1),
    LimitKey("quote_age_max_ms", "5000", Unit.MILLISECONDS, "1", "600000", -1),
    LimitKey("account_age_max_ms", "15000", Unit.MILLISECONDS, "1", "600000", -1),
    LimitKey("clock_skew_max_ms", "2000", Unit.MILLISECONDS, "0", "60000", -1),
    LimitKey("orders_per_minute", "60", Unit.COUNT, "0", "1e6", -1),
    LimitKey("semantic_duplicate_s", "30", Unit.SECONDS, "0", "86400", +1),
    LimitKey("cooldown_after_stop_s", "0", Unit.SECONDS, "0", "86400", +1),
    LimitKey("rejections_latch", "20", Unit.COUNT, "1", "1e6", -1),
    LimitKey("partial_grace_ms", "400", Unit.MILLISECONDS, "0", "15000", -1),
    LimitKey("unprotected_max_ms", "2000", Unit.MILLISECONDS, "100", "60000", -1),
    LimitKey("max_arm_seconds", "3600", Unit.SECONDS, "0", "86400", -1),
    LimitKey("stop_limit_offset", "0.01", Unit.FRACTION, "0.0005", "0.2", 0),
    LimitKey("capital_usd", "0", Unit.USD, "0", "1e12", 0),
)
_BY_NAME = {key.name: key for key in LIMIT_KEYS}

ACCOUNT_WIDE = frozenset({"capital_usd", "account_age_max_ms", "clock_skew_max_ms", "max_drawdown"})
"""Keys that describe the account or the machine and cannot differ between agents or symbols."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits in force for one document: ratios and money in nano, durations in ns, counts as they are."""

    max_risk_per_trade: int
    max_position_size: int
    max_slippage_pct: int
    ttl_seconds: int
    max_daily_trades: int
    max_concurrent: int
    max_daily_loss: int
    max_drawdown: int
    max_gross_exposure: int
    max_order_notional_usd: int
    max_stop_distance: int
    min_stop_distance: int
    min_reward_risk: int
    min_confidence: int
    price_collar: int
    max_spread: int
    quote_age_max_ms: int
    account_age_max_ms: int
    clock_skew_max_ms: int
    orders_per_minute: int
    semantic_duplicate_s: int
    cooldown_after_stop_s: int
    rejections_latch: int
    partial_grace_ms: int
    unprotected_max_ms: int
    max_arm_seconds: int
    stop_limit_offset: int
    capital_usd: int


class SessionRules(msgspec.Struct, frozen=True, kw_only=True):
    """Equity session rules, in ns; 0 switches one off."""

    no_entry_first_s: int
    no_entry_last_s: int
    flatten_before_close_s: int


class AgentLimits(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's own limits (already merged with the account's) and the user its folder must belong to."""

    limits: Limits
    user: str | None


class LimitsFile(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `config/risk_limits.toml` says."""

    hard: Limits
    allow: tuple[str, ...]
    allow_short: bool
    symbols: dict[str, dict[str, int]]
    session: SessionRules
    roll_time: str
    roll_zone: str
    agents: dict[str, AgentLimits]
    sha256: str

    def effective(self, agent: str, symbol: str) -> Limits:
        """Return the tightest of the account's, the agent's and the symbol's limits."""
        own = self.agents[agent].limits if agent in self.agents else self.hard
        overrides = self.symbols.get(symbol)
        return own if not overrides else _tightened(own, overrides)


class LimitsError(ValueError):
    """The limits file refuses to be used; `problems` lists every reason, with the line to paste where one helps."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


DEFAULT_AGENT = "default"
_SYMBOL = re.compile(r"[A-Z][A-Z0-9.]{0,11}(/[A-Z]{2,6})?\Z")
_AGENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_ROLL = re.compile(r"([01]\d|2[0-3]):([0-5]\d) (\S+)\Z")
_SESSION_KEYS = {"no_entry_first_s": "0", "no_entry_last_s": "60", "flatten_before_close_s": "0"}


def _tightened(limits: Limits, overrides: dict[str, int]) -> Limits:
    changed = {}
    for name, value in overrides.items():
        current = getattr(limits, name)
        changed[name] = min(current, value) if _BY_NAME[name].tighter < 0 else max(current, value)
    return msgspec.structs.replace(limits, **changed)


def shipped_line(key: LimitKey) -> str:
    """Return the line to paste for a missing key."""
    return f"{key.name} = {key.shipped}"


def _value(key: LimitKey, found: Any, where: str, problems: list[str]) -> int | None:
    """Return a key's number as stored, or None after saying what is wrong with it."""
    if isinstance(found, bool) or not isinstance(found, int | Decimal):
        problems.append(f"{where}.{key.name}: must be a number, found {found!r}; paste: {shipped_line(key)}")
        return None
    value = Decimal(found)
    if not value.is_finite() or not Decimal(key.low) <= value <= Decimal(key.high):
        problems.append(
            f"{where}.{key.name}: must be in {key.low}..{key.high}, found {found}; paste: {shipped_line(key)}"
        )
        return None
    try:
        scaled = nano_from_decimal(value) * key.unit.scale
    except NumberError as error:
        problems.append(f"{where}.{key.name}: {error}")
        return None
    whole, rest = divmod(scaled, NANO)
    if rest:
        problems.append(f"{where}.{key.name}: {found} is finer than can be kept ({key.unit})")
        return None
    return whole


def _hard_limits(table: dict[str, Any], problems: list[str]) -> Limits | None:
    values: dict[str, int] = {}
    for key in LIMIT_KEYS:
        if key.name not in table:
            problems.append(f"hard_limits.{key.name} is missing; paste: {shipped_line(key)}")
            continue
        value = _value(key, table[key.name], "hard_limits", problems)
        if value is not None:
            values[key.name] = value
    problems.extend(
        f"hard_limits.{name} is not a known key; remove it" for name in table if name not in _BY_NAME
    )
    return Limits(**values) if len(values) == len(LIMIT_KEYS) else None


def _overrides(table: dict[str, Any], hard: Limits | None, where: str, problems: list[str]) -> dict[str, int]:
    """Return the tighter values of one `[symbols."X"]` or `[agents.X]` table."""
    values: dict[str, int] = {}
    for name, found in table.items():
        key = _BY_NAME.get(name)
        if key is None:
            problems.append(f"{where}.{name} is not a known key; remove it")
            continue
        if key.tighter == 0 or name in ACCOUNT_WIDE:
            problems.append(f"{where}.{name} is one value for the whole account; remove it")
            continue
        value = _value(key, found, where, problems)
        if value is None or hard is None:
            continue
        current = getattr(hard, name)
        if (value - current) * key.tighter < 0:
            bound = "at most" if key.tighter < 0 else "at least"
            problems.append(f"{where}.{name} may only be tighter: {bound} the account's, found {found}")
            continue
        values[name] = value
    return values


def _symbols(
    table: dict[str, Any], hard: Limits | None, problems: list[str]
) -> tuple[Any, bool, dict[str, Any]]:
    allow = table.get("allow")
    if not isinstance(allow, list) or not all(isinstance(s, str) and _SYMBOL.match(s) for s in allow):
        problems.append(f'symbols.allow: must be a list of symbols like "AAPL" or "BTC/USD", found {allow!r}')
        allow = []
    if len(set(allow)) != len(allow):
        problems.append("symbols.allow: a symbol stands there twice")
    allow_short = table.get("allow_short")
    if not isinstance(allow_short, bool):
        problems.append("symbols.allow_short: must be true or false; paste: allow_short = false")
    overrides = {}
    for name, value in table.items():
        if name in ("allow", "allow_short"):
            continue
        if not isinstance(value, dict) or name not in allow:
            problems.append(f"symbols.{name}: is neither a known key nor a table for an allowed symbol")
            continue
        overrides[name] = _overrides(value, hard, f'symbols."{name}"', problems)
    return tuple(allow), allow_short is True, overrides


def _session(table: dict[str, Any], problems: list[str]) -> SessionRules:
    values = {}
    for name, shipped in _SESSION_KEYS.items():
        found = table.get(name)
        if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= 23_400:
            problems.append(
                f"session.{name}: must be whole seconds in 0..23400, found {found!r}; paste: {name} = {shipped}"
            )
            found = int(shipped)
        values[name] = found * NS_PER_S
    problems.extend(
        f"session.{name} is not a known key; remove it" for name in table if name not in _SESSION_KEYS
    )
    return SessionRules(**values)


def _agents(table: dict[str, Any], hard: Limits | None, problems: list[str]) -> dict[str, AgentLimits]:
    agents = {}
    for name, value in table.items():
        if not _AGENT.match(name) or not isinstance(value, dict):
            problems.append(f"agents.{name}: must be a table named in lower case letters, digits, - and _")
            continue
        user = value.get("user")
        if user is not None and not isinstance(user, str):
            problems.append(f"agents.{name}.user: must be a user's name, found {user!r}")
            user = None
        own = {key: found for key, found in value.items() if key != "user"}
        overrides = _overrides(own, hard, f"agents.{name}", problems)
        if hard is not None:
            agents[name] = AgentLimits(limits=_tightened(hard, overrides), user=user)
    return agents


_TABLES = ("hard_limits", "symbols", "session", "day", "agents")


def _decimal(text: str) -> Decimal:
    """Return a number's exact value; what is none (nan, inf, 60 digits) is NaN, which its key's range refuses."""
    try:
        return parse_decimal(text)
    except NumberError:
        return Decimal("NaN")


def read_limits(text: str) -> LimitsFile:
    """Read the text of a limits file.

    Raises:
        LimitsError: with every problem at once.
    """
    problems: list[str] = []
    try:
        document = tomllib.loads(text, parse_float=_decimal)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is one; so is a number of 5 000 digits
        raise LimitsError([f"not readable: {error}"]) from error
    tables: dict[str, dict[str, Any]] = {}
    for name in _TABLES:
        found = document.get(name, {} if name == "agents" else None)
        if not isinstance(found, dict):
            problems.append(f"[{name}] is missing")
            found = {}
        tables[name] = found
    problems.extend(f"[{name}] is not a known table; remove it" for name in document if name not in _TABLES)
    hard = _hard_limits(tables["hard_limits"], problems)
    allow, allow_short, symbols = _symbols(tables["symbols"], hard, problems)
    session = _session(tables["session"], problems)
    roll = tables["day"].get("roll")
    match = _ROLL.match(roll) if isinstance(roll, str) else None
    if match is None or set(tables["day"]) - {"roll"}:
        problems.append(f'day.roll: found {tables["day"]!r}; paste: roll = "17:00 America/New_York"')
    agents = _agents(tables["agents"], hard, problems)
    if problems or hard is None or match is None:
        raise LimitsError(problems)
    return LimitsFile(
        hard=hard,
        allow=allow,
        allow_short=allow_short,
        symbols=symbols,
        session=session,
        roll_time=f"{match.group(1)}:{match.group(2)}",
        roll_zone=match.group(3),
        agents=agents,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
