"""Which trades are committed, and what they use up: from approval until flat, everything in flight counted as filled.

Owns the index of the committed tickets and their sums. May not know prices: what depends on the market is worked out by
`hands.core.sizing`. The one idea: whoever changes a ticket says so (`State.touch`, which also has it written ahead), and
what was added up before is added up again; so a verdict costs the same while nothing happened, and never less than what
happened.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hands.core.ticket import Ticket
from hands.core.units import Ns, Price, Ratio, mul_ceil
from hands.core.venue_rules import SHORT_MARGIN


class Stake(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one committed trade uses up until it changes again.

    `exposure` is all of it at the limit price; `cost` what the `owned` quantity was bought (sold short) for;
    `waiting_risk` what the unfilled rest can lose; `reserve` what its entry takes from the buying power, which the
    venue knows since `acked_ns`.
    """

    intent_id: str
    agent: str
    symbol: str
    is_long: bool
    worst_exit: Price
    fee_rate: Ratio
    avg_entry: Price
    owned: int
    cost: int
    exposure: int
    realised: int
    waiting_risk: int
    reserve: int
    acked_ns: Ns | None


class Sum(msgspec.Struct, frozen=True):
    """All stakes, or one agent's; `holding` are those that own something, whose result depends on the market."""

    stakes: tuple[Stake, ...]
    holding: tuple[Stake, ...]
    exposure: int
    realised: int
    waiting_risk: int


class Stakes:
    """The committed tickets, in the order in which they were approved."""

    def __init__(self, approved: Iterable[Ticket] = ()) -> None:
        self._tickets: dict[str, Ticket] = {ticket.intent_id: ticket for ticket in approved}
        self._stakes: dict[str, Stake] = {}
        self._sums: dict[str | None, Sum] = {}

    @property
    def in_order(self) -> list[str]:
        """The ids of what is counted: all that the rest follows from."""
        return list(self._tickets)

    def note(self, ticket: Ticket, *, in_book: bool) -> None:
        """Take notice that a ticket has changed; one that has left the live book is committed no more."""
        self._stakes.pop(ticket.intent_id, None)
        if in_book and ticket.is_committed:
            self._tickets[ticket.intent_id] = ticket
        elif self._tickets.pop(ticket.intent_id, None) is None:
            return  # an armed one counts nowhere
        self._sums.clear()

    @property
    def any(self) -> bool:
        """Whether there is a committed ticket."""
        for ticket in self._tickets.values():  # noqa: SIM110  every second: a generator doubles it
            if ticket.is_committed:
                return True
        return False

    def tickets(self, agent: str | None = None) -> list[Ticket]:
        """Return the committed tickets, of one agent or of all."""
        found = [ticket for ticket in self._tickets.values() if ticket.is_committed]
        return found if agent is None else [ticket for ticket in found if ticket.agent == agent]

    def total(self, agent: str | None = None) -> Sum:
        """Return what they use up together, of one agent or of all."""
        found = self._sums.get(agent)
        if found is None:
            stakes = tuple(self._stake(ticket) for ticket in self.tickets(agent))
            found = self._sums[agent] = Sum(
                stakes=stakes,
                holding=tuple(stake for stake in stakes if stake.owned > 0),
                exposure=sum(stake.exposure for stake in stakes),
                realised=sum(stake.realised for stake in stakes),
                waiting_risk=sum(stake.waiting_risk for stake in stakes),
            )
        return found

    def _stake(self, ticket: Ticket) -> Stake:
        found = self._stakes.get(ticket.intent_id)
        if found is None:
            found = self._stakes[ticket.intent_id] = stake_of(ticket)
        return found


def stake_of(ticket: Ticket) -> Stake:
    """Return what a committed ticket uses up."""
    plan, entry = ticket.plan, ticket.entry
    assert plan is not None
    owned, cost, realised = ticket.result()
    if entry is None:
        waiting: int = plan.qty  # approved, and not yet known to the table: it counts whole
    else:
        waiting = entry.remaining if entry.is_live else 0
    notional = mul_ceil(plan.limit_price, plan.qty)
    return Stake(
        intent_id=ticket.intent_id,
        agent=ticket.agent,
        symbol=ticket.symbol,
        is_long=ticket.is_long,
        worst_exit=plan.worst_exit,
        fee_rate=ticket.fee_rate,
        avg_entry=ticket.avg_entry or plan.limit_price,
        owned=0 if ticket.basis else owned,  # by what it is priced now is for the operator to say
        cost=cost,
        exposure=cost if ticket.basis else mul_ceil(plan.limit_price, abs(owned) + waiting),
        realised=realised,
        waiting_risk=mul_ceil(plan.unit_risk, waiting),
        reserve=notional if ticket.is_long else mul_ceil(notional, SHORT_MARGIN),
        acked_ns=None if entry is None else entry.acked_ns,
    )
