"""The hard limits in force: the limits file's text read strictly, and whose tighter values hold where.

Owns the strict reading of the text and the merging of an agent's or a symbol's tighter values; the keys are a table
of their own (`hands.core.limit_keys`). May not read files: the shell hands over the text.
The one idea: a limit that is missing, unknown or out of range refuses to start, so none can be silently absent.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec

from hands.core.capabilities import CAPABILITY_KEYS, UNBOUNDED, Capabilities, expired, read_capabilities
from hands.core.intents import Refusal
from hands.core.limit_keys import ACCOUNT_WIDE, KEY_BY_NAME, LIMIT_KEYS, SESSION_KEYS, LimitKey, Unit
from hands.core.units import NANO, NS_PER_S, NumberError, nano_from_decimal, parse_decimal
from hands.core.vocab import Code


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
    """One agent's own limits (already merged with the account's), what it may do, and whose its files must be."""

    limits: Limits
    user: str | None
    may: Capabilities = UNBOUNDED


class LimitsFile(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Everything `config/risk_limits.toml` says. What follows from it is worked out once, and lives as long as it."""

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
        if not overrides:
            return own
        key = agent if agent in self.agents else None, symbol
        merged = self._merged.get(key)
        if merged is None:
            merged = self._merged[key] = _tightened(own, overrides)
        return merged

    def allows(self, symbol: str) -> bool:
        """Whether `symbol` is on the account's allow-list."""
        return symbol in self._allowed

    @cached_property
    def _merged(self) -> dict[tuple[str | None, str], Limits]:
        return {}

    @cached_property
    def _allowed(self) -> frozenset[str]:
        return frozenset(self.allow)

    def of_symbol(self, symbol: str) -> Limits:
        """Return the account's limits with the symbol's own tighter ones."""
        return self.effective("", symbol)

    def may(self, agent: str) -> Capabilities:
        """Return what an agent may do, beside how much."""
        return self.agents[agent].may if agent in self.agents else UNBOUNDED

    def turned_away(self, agent: str, wall_ns: int) -> Refusal | None:
        """Return why nothing of an agent is read at `wall_ns` (Unix time), None where it is.

        A touch waits through restarts, so its agent may have been taken out of the file since.
        """
        if not self.knows(agent):
            return Refusal(code=Code.UNKNOWN_AGENT, message=f"no agent {agent!r} is configured")
        return expired(self.may(agent), agent, wall_ns)

    def knows(self, agent: str) -> bool:
        """Whether there is such an agent; the one that drops into `intents/` itself needs no table."""
        return agent == DEFAULT_AGENT or agent in self.agents


class LimitsError(ValueError):
    """The limits file refuses to be used; `problems` lists every reason, with the line to paste where one helps."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


DEFAULT_AGENT = "default"
_SYMBOL = re.compile(r"[A-Z][A-Z0-9.]{0,11}(/[A-Z]{2,6})?\Z")
_AGENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_ROLL = re.compile(r"([01]\d|2[0-3]):([0-5]\d) (\S+)\Z")
_SHOWN_MAX = 60


def _tightened(limits: Limits, overrides: dict[str, int]) -> Limits:
    changed = {}
    for name, value in overrides.items():
        current = getattr(limits, name)
        changed[name] = min(current, value) if KEY_BY_NAME[name].tighter < 0 else max(current, value)
    return msgspec.structs.replace(limits, **changed)


def _value(key: LimitKey, found: Any, where: str, problems: list[str]) -> int | None:
    """Return a key's number as stored, or None after saying what is wrong with it."""
    if isinstance(found, bool) or not isinstance(found, int | Decimal):
        problems.append(f"{where}.{key.name}: must be a number, found {_shown(found)}; paste: {key.line}")
        return None
    value = Decimal(found)
    if not Decimal(key.low) <= value <= Decimal(key.high):
        hint = " (a fraction: 0.02 is 2 %)" if key.unit is Unit.FRACTION and value > Decimal(key.high) else ""
        problems.append(
            f"{where}.{key.name}: must be in {key.low}..{key.high}{hint}, found {_shown(found)}; paste: {key.line}"
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


def _shown(found: Any) -> str:
    """Return what stands in the file, cut off where it is endless."""
    text = str(found) if isinstance(found, int | Decimal) else repr(found)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


def _hard_limits(table: dict[str, Any], problems: list[str]) -> Limits | None:
    values: dict[str, int] = {}
    for key in LIMIT_KEYS:
        if key.name not in table:
            problems.append(f"hard_limits.{key.name} is missing; paste: {key.line}")
            continue
        value = _value(key, table[key.name], "hard_limits", problems)
        if value is not None:
            values[key.name] = value
    problems.extend(_unknown("hard_limits", name) for name in table if name not in KEY_BY_NAME)
    return Limits(**values) if len(values) == len(LIMIT_KEYS) else None


def _overrides(table: dict[str, Any], hard: Limits | None, where: str, problems: list[str]) -> dict[str, int]:
    """Return the tighter values of one `[symbols."X"]` or `[agents.X]` table."""
    values: dict[str, int] = {}
    for name, found in table.items():
        key = KEY_BY_NAME.get(name)
        if key is None:
            problems.append(_unknown(where, name))
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
        problems.append(
            f'symbols.allow: must be a list of symbols like "AAPL" or "BTC/USD", found {_shown(allow)}'
        )
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
    for key in SESSION_KEYS:
        found = table.get(key.name)
        if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= int(key.high):
            problems.append(
                f"session.{key.name}: must be whole seconds in 0..{key.high}, found {_shown(found)}; paste: {key.line}"
            )
            found = int(key.shipped)
        values[key.name] = found * NS_PER_S
    known = {key.name for key in SESSION_KEYS}
    problems.extend(_unknown("session", name) for name in table if name not in known)
    return SessionRules(**values)


def _agents(
    table: dict[str, Any], hard: Limits | None, allow: tuple[str, ...], problems: list[str]
) -> dict[str, AgentLimits]:
    agents = {}
    for name, value in table.items():
        if not _AGENT.match(name) or not isinstance(value, dict):
            problems.append(f"agents.{name}: must be a table named in lower case letters, digits, - and _")
            continue
        if name == "operator":
            problems.append("agents.operator: is the operator's own name, under which holdings are adopted")
        user = value.get("user")
        if user is not None and not isinstance(user, str):
            problems.append(f"agents.{name}.user: must be a user's name, found {user!r}")
            user = None
        own = {key: found for key, found in value.items() if key != "user" and key not in CAPABILITY_KEYS}
        overrides = _overrides(own, hard, f"agents.{name}", problems)
        may = read_capabilities(value, allow, f"agents.{name}", problems)
        if hard is not None:
            agents[name] = AgentLimits(limits=_tightened(hard, overrides), user=user, may=may)
    return agents


_TABLES = ("hard_limits", "symbols", "session", "day", "agents")
_HOME = dict.fromkeys(KEY_BY_NAME, "hard_limits") | {key.name: "session" for key in SESSION_KEYS}
_HOME |= {"allow": "symbols", "allow_short": "symbols", "roll": "day"}


def _unknown(where: str, name: str) -> str:
    """Return what is wrong with a key that has no business in the table `where`."""
    home = _HOME.get(name)
    if home is not None and home != where:
        return f"{where}.{name} is not a known key there: it belongs into [{home}]"
    return f"{where}.{name} is not a known key; remove it"


def _decimal(text: str) -> Decimal | str:
    """Return a number's exact value; what is none (nan, inf, 60 digits, 1e999) stays text, and no key takes text."""
    try:
        return parse_decimal(text.replace("_", "").removeprefix("+"))
    except NumberError:
        return text


NESTING_MAX = 40
"""Brackets in brackets, and dots in names. What comes of many more depends on how deep the stack already is: it would be
another answer when the same file is read again, by a session that is verified."""


def _is_deep_text(text: str) -> bool:
    """Whether brackets stand too deep in it, counted without regard to quotes and comments."""
    depth = 0
    for mark in re.finditer(r"[\[\]{}]", text):
        depth = depth + 1 if mark[0] in "[{" else max(0, depth - 1)
        if depth > NESTING_MAX:
            return True
    return False


def _is_deep(document: dict[str, Any]) -> bool:
    """Whether a table was made too deep, for which a name of many dots is enough."""
    level: list[Any] = [document]
    for _ in range(NESTING_MAX):
        parts = (part for each in level for part in (each.values() if isinstance(each, dict) else each))
        level = [part for part in parts if isinstance(part, dict | list)]
    return bool(level)


def read_limits(text: str) -> LimitsFile:
    """Read the text of a limits file.

    Raises:
        LimitsError: with every problem at once.
    """
    problems: list[str] = []
    too_deep = LimitsError([f"not readable: nested deeper than {NESTING_MAX} levels"])
    if _is_deep_text(text):
        raise too_deep
    try:
        document = tomllib.loads(text, parse_float=_decimal)
    except ValueError as error:  # TOMLDecodeError is one; so is a number of 5 000 digits
        raise LimitsError([f"not readable: {error}"]) from error
    if _is_deep(document):
        raise too_deep
    tables: dict[str, dict[str, Any]] = {}
    for name in _TABLES:
        found = document.get(name, {} if name == "agents" else None)
        if not isinstance(found, dict):
            problems.append(f"[{name}] is missing")
            found = {}
        tables[name] = found
    for name, found in document.items():
        if name not in _TABLES:
            problems.append(
                f"[{name}] is not a known table; remove it"
                if isinstance(found, dict)
                else _unknown("top", name)
            )
    hard = _hard_limits(tables["hard_limits"], problems)
    allow, allow_short, symbols = _symbols(tables["symbols"], hard, problems)
    session = _session(tables["session"], problems)
    roll = tables["day"].get("roll")
    match = _ROLL.match(roll) if isinstance(roll, str) else None
    if match is None or set(tables["day"]) - {"roll"}:
        problems.append(f'day.roll: found {tables["day"]!r}; paste: roll = "17:00 America/New_York"')
    agents = _agents(tables["agents"], hard, allow, problems)
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
