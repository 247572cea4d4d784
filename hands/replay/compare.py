"""Two replays of one market side by side: what other limits, other fills or another latency would have changed.

Owns the comparison. May not run anything. The one idea: documents are the same, so they are held against each other by
their ids; only what differs is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from hands.replay.outcome import Replay, Trade, Verdict


@dataclass(frozen=True, slots=True)
class Changed:
    """A document that was answered in two ways; None where one replay never saw it (a strategy may go on differently)."""

    intent_id: str
    before: Verdict | None
    after: Verdict | None


@dataclass(frozen=True, slots=True)
class Moved:
    """A trade that both made, to another end."""

    before: Trade
    after: Trade

    @property
    def pnl(self) -> Decimal:
        return self.after.pnl - self.before.pnl


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs in `after` from `before`; `pnl` in dollars: realised, and of what is still open at the end."""

    verdicts: tuple[Changed, ...]
    only_before: tuple[Trade, ...]
    only_after: tuple[Trade, ...]
    moved: tuple[Moved, ...]
    realised_pnl: Decimal
    open_pnl: Decimal
    same_digest: bool

    @property
    def is_same(self) -> bool:
        """Whether nothing differs that a trader would see."""
        return not (self.verdicts or self.only_before or self.only_after or self.moved or self.open_pnl)


def compare(before: Replay, after: Replay) -> Comparison:
    """Return what differs. Raises ValueError: they are not of one market."""
    if (before.symbols, before.rows, before.from_ns, before.to_ns) != (
        after.symbols, after.rows, after.from_ns, after.to_ns,
    ):  # fmt: skip
        raise ValueError("two replays of different markets have nothing to be compared in")
    old, new = _verdicts(before), _verdicts(after)
    made, remade = _trades(before), _trades(after)
    return Comparison(
        verdicts=tuple(
            Changed(key, old.get(key), new.get(key))
            for key in dict.fromkeys((*old, *new))
            if _said(old.get(key)) != _said(new.get(key))
        ),
        only_before=tuple(trade for key, trade in made.items() if key not in remade),
        only_after=tuple(trade for key, trade in remade.items() if key not in made),
        moved=tuple(
            Moved(trade, remade[key]) for key, trade in made.items() if key in remade and trade != remade[key]
        ),
        realised_pnl=after.realised_pnl - before.realised_pnl,
        open_pnl=after.open_pnl - before.open_pnl,
        same_digest=before.digest == after.digest,
    )


def _verdicts(replay: Replay) -> dict[str, Verdict]:
    return {each.intent_id: each for each in replay.verdicts if each.intent_id is not None}


def _said(verdict: Verdict | None) -> tuple[str, str] | None:
    return None if verdict is None else (verdict.verdict, verdict.code)


def _trades(replay: Replay) -> dict[str, Trade]:
    return {trade.intent_id: trade for trade in replay.trades}
