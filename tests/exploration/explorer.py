"""All interleavings, each different situation once, every invariant in each of them.

Owns the search, the invariants and the finding of a way home. May not know what a move does. The one idea: a situation
that was reached before, with the same future, need not be looked at again; so what is printed is how many *different*
situations there are, and all of them were judged. There are two ways to say how far the search goes: `to_depth` makes
every move that is possible, in every order, so many times; `to_departures` follows a trade from its beginning to its
end, and departs from what would happen next if nothing went wrong so many times, at every place and in every way.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from typing import NamedTuple

from hands.core.units import NS_PER_MS, NS_PER_S
from tests.exploration.invariants import ALWAYS, AT_REST, Invariant, is_at_rest, is_safe, plight
from tests.exploration.likeness import packed
from tests.exploration.scenarios import first
from tests.exploration.situation import Situation
from tests.exploration.wires import Broken

HOME_STEPS = 200
"""How many moves without faults may pass until a trade is protected or over."""

HOME_NS = 60 * NS_PER_S
"""How much time may pass until then: an entry's whole life, and the pursuit of a lost one, is in it."""

NAKED_NS = 8 * NS_PER_S
"""How long of that a position may be uncovered: the bound, twice while a snapshot is in doubt, and the tries after it."""

FAULTS_OF_OURS = (
    AssertionError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What `decide` must never raise, whatever the world does; `Broken` is one of them."""

Digest = bytes


class Home(NamedTuple):
    """The way from a situation to a safe one, nothing going wrong: moves, time, and time uncovered."""

    steps: int
    ns: int
    naked_ns: int


class Counterexample(NamedTuple):
    """A path on which an invariant does not hold; `home` are moves without faults that were made after it."""

    scenario: str
    invariant: str
    detail: str
    path: tuple[str, ...]
    home: tuple[str, ...]


class Result(NamedTuple):
    """What an exploration of one scenario came to. `checked`: how often each invariant was looked at."""

    scenario: str
    how_far: str
    states: int
    transitions: int
    decisions: int
    seconds: float
    checked: dict[str, int]
    longest: Home
    alerts: dict[str, int]
    found: list[Counterexample]


class Enough(Exception):  # noqa: N818
    """A hasty exploration has found what it was after."""


Progress = Callable[[str], None]


class Node:
    """A situation and the way to it."""

    __slots__ = ("digest", "move", "parent", "situation")

    def __init__(self, situation: Situation, parent: Node | None, move: str, digest: Digest) -> None:
        self.situation: Situation | None = situation
        self.parent = parent
        self.move = move
        self.digest = digest

    def path(self) -> tuple[str, ...]:
        moves: list[str] = []
        node: Node | None = self
        while node is not None and node.parent is not None:
            moves.append(node.move)
            node = node.parent
        return tuple(reversed(moves))


def digest_of(situation: Situation) -> Digest:
    return blake2b(packed(situation.key()), digest_size=12).digest()


class Explorer:
    """One scenario's exploration. `found` fills with counterexamples, at most `most` of each invariant.

    `hasty`: the first one ends it.
    """

    def __init__(
        self,
        name: str,
        *,
        faults: int | None = None,
        most: int = 3,
        hasty: bool = False,
    ) -> None:
        self.name = name
        self.hasty = hasty
        self.start = first(name, faults=faults)
        self.seen: set[Digest] = set()
        self.homes: dict[Digest, Home | None] = {}
        self.lost: dict[Digest, tuple[str, ...]] = {}
        self.next_fair: dict[Digest, tuple[Digest, int, int]] = {}
        self.checked: Counter[str] = Counter()
        self.alerts: Counter[str] = Counter()
        self.found: list[Counterexample] = []
        self.most = most
        self.transitions = self.decisions = 0
        self.longest = Home(0, 0, 0)

    def to_depth(self, depth: int, progress: Progress = lambda _line: None) -> Result:
        """Look at everything within `depth` moves of the start."""
        began = time.process_time()
        with suppress(Enough):
            self._search_to_depth(depth, progress)
        return self._result(f"depth {depth}, {self.start.faults} faults", began)

    def _search_to_depth(self, depth: int, progress: Progress) -> None:
        level = [self._root()]
        levels = level[:]
        for n in range(depth):
            level = [node for old in level for node in self._expand(old)]
            levels += level
            progress(f"{self.name}: depth {n + 1}, {len(self.seen)} states, {self.transitions} transitions")
        for node in reversed(levels):
            self._lead_home(node)

    def to_departures(self, most: int, progress: Progress = lambda _line: None) -> Result:
        """Look at everything that departs at most `most` times from a world in which nothing goes wrong."""
        began = time.process_time()
        with suppress(Enough):
            self._search_to_departures(most, progress)
        return self._result(f"{most} departures", began)

    def _search_to_departures(self, most: int, progress: Progress) -> None:
        layer = [self._root()]
        for n in range(most):
            layer = self._until_home(layer)
            progress(f"{self.name}: {n} departures, {len(self.seen)} states, {self.transitions} transitions")
            if n < most - 1:
                layer = [child for node in layer for child in self._expand(node, departing=True)]
        for number, node in enumerate(layer):
            for child in self._expand(node, departing=True):
                self._lead_home(child)
            node.situation = None
            if number % 2_000 == 1_999:
                progress(f"{self.name}: {number + 1} of {len(layer)}, {self.transitions} transitions")

    def _root(self) -> Node:
        root = Node(self.start.copy(), None, "", digest_of(self.start))
        self.seen.add(root.digest)
        self._judge(root)
        return root

    def _result(self, how_far: str, began: float) -> Result:
        states = len(self.seen | self.homes.keys())
        return Result(
            self.name, how_far, states, self.transitions, self.decisions, time.process_time() - began,
            dict(self.checked), self.longest, dict(self.alerts), self.found,
        )  # fmt: skip

    def _until_home(self, layer: list[Node]) -> list[Node]:
        """Return the layer with everything that follows from it while nothing goes wrong, as far as a safe situation."""
        found = []
        for node in layer:
            following: Node | None = node
            for _ in range(HOME_STEPS):
                if following is None:
                    break
                found.append(following)
                following = self._next_fair(following)
        for node in reversed(found):
            self._lead_home(node)
        return found

    def _next_fair(self, node: Node) -> Node | None:
        here = node.situation
        assert here is not None
        move = None if is_safe(here) else here.fair_move()
        return None if move is None else next(self._make(node, here, (move,)), None)

    def _expand(self, node: Node, *, departing: bool = False) -> Iterator[Node]:
        """Make every move from here (`departing`: but the fair one) and yield the new situations it leads to."""
        here = node.situation
        assert here is not None
        fair = here.fair_move()
        yield from self._make(node, here, [move for move in here.moves() if not departing or move != fair])
        if node.digest in self.next_fair and not departing:
            node.situation = None  # it was the fair move's to keep until the way home is known

    def _make(self, node: Node, here: Situation, moves: Iterable[str]) -> Iterator[Node]:
        fair = here.fair_move()
        for move in moves:
            there = here.copy()
            there.decided = 0
            try:
                there.make(move)
            except FAULTS_OF_OURS as error:
                self._blame(node, move, error)
                continue
            self.transitions += 1
            self.decisions += there.decided
            digest = digest_of(there)
            if move == fair:
                self.next_fair[node.digest] = digest, there.now_ns - here.now_ns, _naked_ns(here, there)
            if digest not in self.seen:
                self.seen.add(digest)
                child = Node(there, node, move, digest)
                self._judge(child)
                yield child

    def _blame(self, node: Node, move: str, error: Exception, home: tuple[str, ...] = ()) -> None:
        """Count an exception as a counterexample; `home`: the moves without faults before it."""
        invariant, detail = "no exception", f"{type(error).__name__}: {error}"
        if isinstance(error, Broken):
            invariant, detail = error.invariant, str(error)
        self._find(node, invariant, detail, (*home, move) if home else (), () if home else (move,))

    def _judge(self, node: Node) -> None:
        assert node.situation is not None
        self._judge_walk(node, node.situation, ())
        self.alerts.update(node.situation.alerts)

    def _judge_walk(self, node: Node, s: Situation, home: tuple[str, ...]) -> None:
        """Hold every invariant against a situation, after the moves `home` that followed a node."""
        for name, invariant in (ALWAYS | AT_REST if is_at_rest(s) else ALWAYS).items():
            self._ask(node, s, name, invariant, home)

    def _ask(
        self, node: Node, s: Situation, name: str, invariant: Invariant, home: tuple[str, ...] = ()
    ) -> None:
        self.checked[name] += 1
        for detail in invariant(s):
            self._find(node, name, detail, home)

    def _find(
        self, node: Node, invariant: str, detail: str, home: tuple[str, ...] = (), last: tuple[str, ...] = ()
    ) -> None:
        found = Counterexample(self.name, invariant, detail, (*node.path(), *last), home)
        if any(c.invariant == invariant and c.path == found.path for c in self.found):
            return
        if sum(c.invariant == invariant for c in self.found) < self.most:
            self.found.append(found)
            if self.hasty:
                raise Enough

    # --- the way home ----------------------------------------------------------------------------------

    def _lead_home(self, node: Node) -> None:
        """Follow a world in which nothing goes wrong any more until the trade is protected or over."""
        self.checked["comes home"] += 1
        if node.digest in self.homes:
            return
        s = node.situation
        if s is None:  # where it goes first was explored: the way is known from there
            after, ns, naked_ns = self.next_fair[node.digest]
            found = self.homes.get(after)
            self.homes[node.digest] = (
                None if found is None else Home(found.steps + 1, found.ns + ns, found.naked_ns + naked_ns)
            )
            if found is not None:
                return
            s = _again(self.start, node)
        self._walk(node, s.copy())

    def _walk(self, node: Node, s: Situation) -> None:
        trail: list[tuple[Digest, int, int]] = []
        moves: list[str] = []
        digest, home = node.digest, Home(0, 0, 0)
        while not is_safe(s):
            known = self.homes.get(digest)
            if known is not None:
                home = known
                break
            move = s.fair_move()
            if move is None or len(moves) >= HOME_STEPS or digest in self.lost:
                why = "nothing happens any more" if move is None else f"not within {HOME_STEPS} moves"
                whole = (*moves, *self.lost.get(digest, ()))
                self._find(node, "comes home", f"{why}: {plight(s)}", whole)
                for number, (passed, _, _) in enumerate(trail):
                    self.lost[passed] = whole[number:]
                return
            before_ns, was_naked = s.now_ns, s.exchange.bare
            moves.append(move)
            try:
                s.make(move)
            except FAULTS_OF_OURS as error:
                self._blame(node, move, error, tuple(moves[:-1]))
                return
            trail.append((digest, s.now_ns - before_ns, s.now_ns - before_ns if was_naked else 0))
            self._judge_walk(node, s, tuple(moves))
            digest = digest_of(s)
        self._remember(node, digest, home, trail, tuple(moves))

    def _remember(
        self,
        node: Node,
        end: Digest,
        home: Home,
        trail: list[tuple[Digest, int, int]],
        moves: tuple[str, ...],
    ) -> None:
        """Keep how far it was from everywhere on a way home; one that took too long is found."""
        self.homes[end] = home
        for passed, ns, naked_ns in reversed(trail):
            home = Home(home.steps + 1, home.ns + ns, home.naked_ns + naked_ns)
            self.homes[passed] = home
        self.longest = Home(*map(max, self.longest, home))
        if home.ns > HOME_NS or home.naked_ns > NAKED_NS:
            took = f"{home.ns / NS_PER_MS:.0f} ms, uncovered for {home.naked_ns / NS_PER_MS:.0f} ms"
            self._find(node, "comes home in time", took, moves)


def _naked_ns(here: Situation, there: Situation) -> int:
    return there.now_ns - here.now_ns if here.exchange.bare else 0


def _again(start: Situation, node: Node) -> Situation:
    found = start.copy()
    for move in node.path():
        found.make(move)
    return found
