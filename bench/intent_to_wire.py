"""From an intent's file to the first byte of its order at the exchange's socket.

Owns the measurement and its method (`METHOD`, which goes into the result). The contenders take turns: a block of
drops each, round after round, all processes up all the time, so that what else the machine does falls on all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from bench import peers
from bench.drops import Drop, drop_at_pace
from bench.percentiles import summary
from bench.processes import BenchError, Running, running
from bench.venue import Venue, open_venue
from bench.waterfall import explain_missing, read_receipts, wall_offset_ns, waterfall

CONFIG = Path(__file__).resolve().parent / "config"
INTERVAL_NS = 29_000_000
"""Long enough for the engine's work after an order (receipts, filing, views: some 15 ms) to be over, and a prime
number of milliseconds, so that the pace does not beat with anybody's timer."""

STEADY_INTERVAL_NS = 5_000_000
"""A second pace, at which files keep coming: processors neither sleep nor forget in between."""

LONE_INTERVAL_NS = 250_000_000
"""For the naive peer: watchfiles gathers changes for 50 ms after the last, up to 1.6 s; each file is let be alone."""

PROBES_MAX = 20
METHOD = (
    "open loop at a constant pace (the clock alone sets it, so nothing is omitted); time zero is read just before the "
    "rename, the end in the receiver's data_received, both CLOCK_MONOTONIC of one machine; from_intended is the same "
    "end from the intended moment, the generator's own lateness included; percentiles are nearest rank on all "
    "samples; contenders in turns, in one run, against one receiver, which refuses every order (403), so that "
    "symbols are free at once; nothing else is asked of the engine, its market stands still, its polls go on"
)

Tell = Callable[[str, int], None]


class Size(NamedTuple):
    """How many drops count for each contender (a multiple of `rounds`), how many before that do not."""

    samples: int
    warm_up: int
    rounds: int
    naive: int


FULL = Size(samples=1_000, warm_up=50, rounds=5, naive=40)
QUICK = Size(samples=200, warm_up=20, rounds=2, naive=12)


@dataclass
class Contender:
    """Somebody who answers files with orders; `order_id` is the client_order_id its order for a document has."""

    name: str
    folder: Path
    order_id: Callable[[str], str]
    interval_ns: int = INTERVAL_NS
    drops: list[Drop] = field(default_factory=list)
    arrived: dict[str, int] = field(default_factory=dict)

    def latencies_ns(self, *, intended: bool = False) -> list[int]:
        """Return the latency of every drop that counts."""
        return [
            self.arrived[drop.intent_id] - (drop.intended_ns if intended else drop.zero_ns)
            for drop in self.drops
        ]


def measure(room: Path, size: Size, tell: Tell) -> dict[str, Any]:
    """Return the `intent_to_wire` object. `tell(what, drops)` is told of every drop. Raises BenchError."""
    with ExitStack() as stack:
        venue = stack.enter_context(open_venue(room))
        hands = stack.enter_context(_hands(room, venue))
        others = [stack.enter_context(_floor(room, venue))]
        if peers.missing("tuned") is None:
            others.append(stack.enter_context(_peer("tuned", room, venue, INTERVAL_NS)))
        venue.publish_quotes()
        offset_ns = wall_offset_ns()
        for contender in (*others, hands):
            _until_heard(venue, contender)
            _block(venue, contender, size.warm_up, tell)
            contender.drops.clear()
        for _ in range(size.rounds):
            for contender in (*others, hands):
                _block(venue, contender, size.samples // size.rounds, tell)
        steady = [
            replace(c, interval_ns=STEADY_INTERVAL_NS, drops=[], arrived={}) for c in (others[0], hands)
        ]
        for _ in range(size.rounds):
            for contender in steady:
                _block(venue, contender, size.samples // size.rounds, tell)
        offsets_ns = (offset_ns, wall_offset_ns())
        receipts = read_receipts(hands.folder, hands.drops)
        stages = waterfall(receipts, hands.drops, hands.arrived, offsets_ns)
    by_name = {contender.name: contender for contender in others} | _naive(room, size.naive, tell)
    return _result(hands, by_name, stages) | {
        "steady": _steady(*steady),
        "method": {
            "text": METHOD,
            "interval_ms": INTERVAL_NS / 1e6,
            "naive_interval_ms": LONE_INTERVAL_NS / 1e6,
            "warm_up_excluded": size.warm_up,
            "rounds": size.rounds,
        },
    }


def drops_planned(size: Size) -> int:
    """Return how many drops `measure` will tell of."""
    contenders = 2 + (peers.missing("tuned") is None)
    naive = 0 if peers.missing("naive") is not None else size.naive
    return contenders * (size.samples + size.warm_up) + 2 * size.samples + naive


def _steady(floor: Contender, hands: Contender) -> dict[str, Any]:
    """Return the same measure at the quicker pace."""
    found, least = summary(hands.latencies_ns()), summary(floor.latencies_ns())
    ratio = round(found["p50_us"] / least["p50_us"], 2)
    floor_part = {f"floor_{name}": least[name] for name in ("p50_us", "p99_us", "p999_us", "max_us")}
    return found | floor_part | {"ratio_p50": ratio, "interval_ms": STEADY_INTERVAL_NS / 1e6}


def _result(
    hands: Contender, others: Mapping[str, Contender], stages: list[dict[str, Any]]
) -> dict[str, Any]:
    floor = summary(others["floor"].latencies_ns())
    found: dict[str, Any] = summary(hands.latencies_ns())
    found |= {f"floor_{name}": floor[name] for name in ("p50_us", "p99_us", "p999_us", "max_us")}
    found["ratio_p50"] = round(found["p50_us"] / floor["p50_us"], 2)
    for name in ("naive", "tuned"):
        if name in others:
            peer = summary(others[name].latencies_ns())
            found |= {
                f"{name}_n": peer["n"],
                f"{name}_p50_us": peer["p50_us"],
                f"{name}_p99_us": peer["p99_us"],
            }
    intended = summary(hands.latencies_ns(intended=True))
    found |= {f"from_intended_{name}": intended[name] for name in ("p50_us", "p99_us", "p999_us", "max_us")}
    return found | {"waterfall": stages}


# --- the contenders ----------------------------------------------------------------------------------------


@contextmanager
def start_hands(room: Path, venue: Venue, agents: Sequence[str] = ()) -> Iterator[Running]:
    """Run the daemon as an operator would, with the bench's configuration and these `agents`, in `room`."""
    limits = room / "risk_limits.toml"
    tables = "".join(f"\n[agents.{agent}]\n" for agent in agents)
    limits.write_text((CONFIG / "risk_limits.toml").read_text("utf-8") + tables, "utf-8")
    arguments = [
        "-m", "hands", "run", "--json", "--config", str(CONFIG / "hands.toml"),
        "--limits", str(limits), "--intents", str(room / "intents"),
        "--state", str(room / "state"), "--alpaca-url", venue.url,
    ]  # fmt: skip
    with running(arguments, room / "hands.log") as daemon:
        yield daemon


@contextmanager
def _hands(room: Path, venue: Venue) -> Iterator[Contender]:
    with start_hands(room, venue):
        yield Contender("hands", room / "intents", lambda intent_id: f"hands-{intent_id}-entry-1")


@contextmanager
def _floor(room: Path, venue: Venue) -> Iterator[Contender]:
    folder = room / "floor"
    folder.mkdir()
    host, port = venue.address
    with running(["-m", "bench.floor", str(folder), host, str(port)], room / "floor.log"):
        yield Contender("floor", folder, lambda _: "floor")


@contextmanager
def _peer(name: str, room: Path, venue: Venue, interval_ns: int) -> Iterator[Contender]:
    folder = room / name
    folder.mkdir()
    with running(["-m", "bench.peers", name, str(folder), venue.url], room / f"{name}.log"):
        yield Contender(name, folder, lambda intent_id: intent_id, interval_ns)


def _naive(room: Path, count: int, tell: Tell) -> dict[str, Contender]:
    """Measure the naive peer by itself, since it needs another pace; nothing where it cannot run."""
    if peers.missing("naive") is not None:
        return {}
    inner = room / "alone"
    inner.mkdir()
    with open_venue(inner) as venue, _peer("naive", inner, venue, LONE_INTERVAL_NS) as peer:
        _until_heard(venue, peer)
        _block(venue, peer, 2, lambda _name, _count: None)
        peer.drops.clear()
        _block(venue, peer, count, tell)
        return {"naive": peer}


# --- dropping and waiting ----------------------------------------------------------------------------------


def _until_heard(venue: Venue, contender: Contender) -> None:
    """Drop single documents until one is answered: a watcher may be ready a little later than its process says."""
    for _ in range(PROBES_MAX):
        drop_at_pace(contender.folder, 1, LONE_INTERVAL_NS, lambda: None)
        if venue.arrivals(1, within_s=2.0):
            return
    raise BenchError(f"{contender.name} does not answer")


def _block(venue: Venue, contender: Contender, count: int, tell: Tell) -> None:
    """Drop `count` documents and wait for every order. Raises BenchError if one is missing or one too many."""
    drops = drop_at_pace(contender.folder, count, contender.interval_ns, lambda: tell(contender.name, 1))
    arrivals = venue.arrivals(count)
    if contender.name == "floor":  # one connection, one order per file: they arrive in the order of the files
        arrived = {drop.intent_id: at_ns for drop, (_, at_ns) in zip(drops, arrivals, strict=False)}
    else:
        named = dict(arrivals)
        wanted = ((drop.intent_id, contender.order_id(drop.intent_id)) for drop in drops)
        arrived = {intent_id: named[name] for intent_id, name in wanted if name in named}
    if len(arrivals) != count or len(arrived) != count:
        why = explain_missing(contender.folder, drops, arrived) if contender.name == "hands" else ""
        raise BenchError(
            f"{contender.name}: {count} documents, {len(arrived)} orders for them. {why}".strip()
        )
    contender.drops += drops
    contender.arrived |= arrived
