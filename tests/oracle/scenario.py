"""What a verdict depends on, as plain data in `Decimal`: a document, an account, a market, a history, the limits.

Owns the shapes that the generator fills, the oracle reads and the engine is set up from. May not import the engine: the
oracle must not be able to learn anything from it. The one idea: both sides see this and nothing else. Money, prices,
quantities and fractions are exact decimals; times are ns, ages count backwards from `now_ns`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

D = Decimal
NOTHING = D(0)
SECOND = 10**9
MS = 10**6
SYMBOLS = ("AAPL", "SPY", "PENNY", "BTC/USD", "SOL/USD", "DOGE/USD")

HIGHER_IS_TIGHTER = {
    "min_stop_distance", "min_reward_risk", "min_confidence", "semantic_duplicate_s", "cooldown_after_stop_s",
}  # fmt: skip


@dataclass
class Document:
    number: int
    asset: str
    direction: str
    trigger: Decimal
    stop: Decimal
    target: Decimal
    confidence: Decimal
    ttl_s: Decimal
    age_ns: int
    touch: bool = False
    arm_s: Decimal | None = None
    qty: Decimal | None = None
    trailing: Decimal | None = None

    @property
    def long(self) -> bool:
        return self.direction == "LONG"

    @property
    def crypto(self) -> bool:
        return "/" in self.asset


@dataclass
class Quote:
    """`lag_ns`: what the receipt is behind the venue's stamp; `asked_ago_ns`: when the venue confirmed it last."""

    bid: Decimal
    ask: Decimal
    age_ns: int = 0
    lag_ns: int = 0
    asked_ago_ns: int | None = None


@dataclass
class Instrument:
    lot: Decimal
    min_qty: Decimal
    increment: Decimal | None = None
    status: str = "active"
    tradable: bool = True
    shortable: bool = True
    easy_to_borrow: bool = True
    halted: bool = False


@dataclass
class Account:
    equity: Decimal
    buying_power: Decimal
    non_marginable: Decimal
    age_ns: int = 0
    status: str = "ACTIVE"
    crypto_status: str = "ACTIVE"
    shorting: bool = True
    multiplier: int = 4
    trading_blocked: bool = False
    account_blocked: bool = False
    suspended: bool = False


@dataclass
class Trade:
    """A trade of ours: what was ordered, what of it was filled and sold again. `status` is its entry's word.

    `known_ago_ns`: when the venue acknowledged the entry; None: it has not. `state` is the receipt's.
    """

    number: int
    symbol: str
    direction: str
    agent: str
    qty: Decimal
    limit: Decimal
    stop: Decimal
    target: Decimal
    state: str
    status: str
    filled: Decimal = NOTHING
    price: Decimal = NOTHING
    received: Decimal = NOTHING
    sold: Decimal = NOTHING
    sold_at: Decimal = NOTHING
    known_ago_ns: int | None = 60 * SECOND

    @property
    def long(self) -> bool:
        return self.direction == "LONG"

    @property
    def crypto(self) -> bool:
        return "/" in self.symbol


@dataclass
class Idea:
    """An intent that was accepted, its prices already rounded. `fate`: what has become of it.

    "forgotten": it is no longer in memory; "armed": it waits; "closed": it was filled, and is over; "expired": it died
    without a fill; "void": so it did, and is no longer in memory.
    """

    number: int
    symbol: str
    direction: str
    trigger: Decimal
    stop: Decimal
    target: Decimal
    ago_ns: int
    fate: str = "forgotten"


@dataclass
class Agent:
    """One `[agents.<name>]` table, and what Hands knows of the agent."""

    limits: dict[str, Decimal] = field(default_factory=dict)
    symbols: tuple[str, ...] | None = None
    directions: tuple[str, ...] = ("LONG", "SHORT")
    daily_notional: Decimal | None = None
    expires_in_ns: int | None = None


@dataclass
class Day:
    equity: Decimal | None
    realised: dict[str, Decimal] = field(default_factory=dict)
    unrealised_at_roll: dict[str, Decimal] = field(default_factory=dict)
    trades: dict[str, int] = field(default_factory=dict)
    notional: dict[str, Decimal] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)


@dataclass
class Session:
    is_open: bool = True
    opened_ago_ns: int | None = 1800 * SECOND
    closes_in_ns: int = 6 * 3600 * SECOND
    clock_ahead_max_ns: int | None = 0


@dataclass
class Scenario:
    now_ns: int
    document: Document
    agent: str
    account: Account | None
    day: Day
    session: Session | None
    hard: dict[str, Decimal]
    by_symbol: dict[str, dict[str, Decimal]] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    allow: tuple[str, ...] = SYMBOLS
    allow_short: bool = True
    no_entry_first_s: int = 0
    no_entry_last_s: int = 60
    instruments: dict[str, Instrument] = field(default_factory=dict)
    quotes: dict[str, Quote] = field(default_factory=dict)
    offset_ns: int | None = 0
    wall_offset_ns: int = 0
    links_down: set[str] = field(default_factory=set)
    reconciled: bool = True
    reasons: dict[str, str] = field(default_factory=dict)
    latched: set[str] = field(default_factory=set)
    trades: list[Trade] = field(default_factory=list)
    ideas: list[Idea] = field(default_factory=list)
    entries: list[tuple[int, str]] = field(default_factory=list)
    stopped_out_ago_ns: dict[str, int] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    judged_before: set[int] = field(default_factory=set)
    fetched: Quote | None = None
    """What the venue answers where it is asked for the latest quote; None: the question fails."""
    fires_at: Quote | None = None
    """For a touch: the market at the trigger, a second after it was armed. None: only the arming is asked."""


@dataclass(frozen=True)
class Outcome:
    """What the receipt says; an order's numbers only where one left."""

    verdict: str
    code: str
    state: str = ""
    qty: Decimal | None = None
    limit: Decimal | None = None
    stop: Decimal | None = None
    target: Decimal | None = None
