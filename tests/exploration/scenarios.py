"""The scenarios: what is traded, where the exploration begins, what may go wrong, and the venue's habits.

Owns the table `SCENARIOS` and the building of each first situation. May not explore. The one idea: a scenario begins with
a real document judged by the real guardian and a few moves without faults, so that nothing in the engine's state is made up.
"""

from __future__ import annotations

import msgspec

from hands.core.engine import decide
from hands.core.events import DocumentReceived
from hands.core.ideas import Ideas
from hands.core.units import nano
from tests.core.world import NOW, document, encoded, world
from tests.exploration.exchange import Exchange
from tests.exploration.likeness import Pit
from tests.exploration.resting import Habits
from tests.exploration.situation import Situation

EQUITY, COIN = "AAPL", "SOL/USD"
LEVELS = {
    EQUITY: {"mid": ("149.98", "150.00"), "high": ("155.10", "155.12"), "low": ("147.50", "147.52")},
    COIN: {
        "mid": ("149.95", "150.00"),
        "high": ("165.20", "165.30"),
        "low": ("144.50", "144.60"),  # through the stop, above its limit
        "deep": ("140.00", "140.10"),  # below the limit: elected, and it does not fill
    },
}
REQUESTS = frozenset({"lose", "delay", "lose answer", "drop", "error", "refuse", "refuse cancel"})
REPORTS = frozenset({"duplicate", "reorder", "stream", "lag"})
VENUE = frozenset({"expire", "replace", "owner", "both fill"})
CRASH = frozenset({"crash"})
EVERYTHING = REQUESTS | REPORTS | VENUE | CRASH


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One exploration: `begins` are moves made before it. `depth`, with so many `faults`, and `departures` are what a
    test looks at, `deep` the same three in a soak. `swings`: how often the market moves.
    """

    symbol: str
    qty: int = 2
    begins: tuple[str, ...] = ()
    menu: frozenset[str] = EVERYTHING
    habits: Habits = Habits()
    depth: int = 3
    faults: int = 1
    departures: int = 1
    swings: int = 2
    deep: tuple[int, int, int] = (5, 2, 2)
    says: str


ENTERED = ("arrive submit entry-1", "answer submit entry-1 200", "report entry-1 new")
FILLED = (*ENTERED, "fill entry-1 all", "report entry-1 fill")
COIN_FILLED = (*FILLED, "arrive submit sl-1", "answer submit sl-1 200", "report sl-1 new")
PARTLY = (
    *ENTERED,
    "fill entry-1 one",
    "report entry-1 partial_fill",
    "time passes",
    "arrive cancel entry-1",
    "answer cancel entry-1 204",
)
BARE = (*PARTLY, "end entry-1", "report entry-1 canceled", "arrive query entry-1", "answer query entry-1 200")
PAIRED = (*BARE, "arrive submit tp-1", "answer submit tp-1 200", "report tp-1 new")
TALKATIVE = Habits(tells_siblings=True, tells_legs=True)
RENAMING = Habits(renames_legs=True)
NO_STOPS = Habits(refuses_stops=True)

SCENARIOS: dict[str, Scenario] = {
    "entry": Scenario(symbol=EQUITY, says="an equity's bracket from its submit on"),
    "bracket": Scenario(
        symbol=EQUITY, begins=FILLED, departures=2, says="an open bracket, both legs at the venue"
    ),
    "told": Scenario(
        symbol=EQUITY,
        begins=FILLED,
        habits=TALKATIVE,
        depth=2,
        says="the same where the venue tells of every leg",
    ),
    "partial": Scenario(
        symbol=EQUITY, begins=PARTLY, says="an entry filled in part, its rest being cancelled"
    ),
    "pair": Scenario(symbol=EQUITY, begins=PAIRED, says="the pair that protects what was filled"),
    "renamed": Scenario(
        symbol=EQUITY,
        begins=FILLED,
        habits=RENAMING,
        depth=2,
        says="the same where a leg that is cut becomes another",
    ),
    "cut": Scenario(
        symbol=EQUITY,
        qty=3,
        begins=(*ENTERED, "fill entry-1 one", "report entry-1 partial_fill", *PARTLY[3:]),
        habits=RENAMING,
        depth=2,
        says="a pair for two of three shares, where a leg that is cut becomes another",
    ),
    "close": Scenario(
        symbol=EQUITY,
        begins=(*FILLED, "operator close"),
        depth=2,
        says="an open bracket that the operator has asked to close",
    ),
    "part": Scenario(
        symbol=EQUITY,
        begins=(*FILLED, "operator close 1"),
        depth=2,
        says="an open bracket half of which is to be closed",
    ),
    "moved": Scenario(
        symbol=EQUITY,
        begins=(*FILLED, "operator amend 149"),
        depth=2,
        says="an open bracket whose stop is being tightened",
    ),
    "no-stop": Scenario(
        symbol=EQUITY,
        begins=PARTLY,
        habits=NO_STOPS,
        depth=2,
        says="the same where the venue refuses every stop",
    ),
    "coin": Scenario(symbol=COIN, says="a coin from its entry's submit on"),
    "coin-stop": Scenario(
        symbol=COIN,
        begins=COIN_FILLED,
        departures=2,
        says="a coin, its stop at the venue and its target in the engine",
    ),
    "coin-target": Scenario(
        symbol=COIN,
        begins=(*COIN_FILLED, "market high", "quote"),
        depth=2,
        says="a coin whose target was reached, its stop being cancelled",
    ),
    "coin-moved": Scenario(
        symbol=COIN,
        begins=(*COIN_FILLED, "operator amend 147"),
        depth=2,
        says="a coin whose stop is being tightened",
    ),
    "coin-no-stop": Scenario(
        symbol=COIN,
        begins=FILLED,
        habits=NO_STOPS,
        depth=2,
        says="a coin that was bought where every stop is refused",
    ),
}


def first(name: str, *, faults: int | None = None, swings: int | None = None) -> Situation:
    """Return the situation in which a scenario begins, with so many faults and swings before it."""
    scenario = SCENARIOS[name]
    state = world()
    members = document(1, scenario.symbol, qty=str(scenario.qty))
    event = DocumentReceived(
        ts_ns=NOW, agent="default", name="1.json", data=encoded(members), file_event_ns=NOW
    )
    out = decide(state, event)
    prices = {level: (nano(bid), nano(ask)) for level, (bid, ask) in LEVELS[scenario.symbol].items()}
    state.market = Pit(scenario.symbol, prices)  # type: ignore[assignment]
    state.accepted = Ideas()
    exchange = Exchange(scenario.symbol, prices, scenario.habits)
    found = Situation(
        state,
        exchange,
        scenario.menu,
        scenario.faults if faults is None else faults,
        scenario.swings if swings is None else swings,
    )
    found.begin(out)
    for move in scenario.begins:
        found.make(move)
    return found
