"""What the exchange keeps of an order, how it refuses and tells, and its habits.

Owns the records; what happens to them is `tests.exploration.exchange`'s.
"""

from __future__ import annotations

import msgspec

from hands.core.events import Execution
from hands.core.vocab import Leg, OrderClass, OrderStatus, OrderType, Side, TimeInForce

S = OrderStatus

Refusal = tuple[int, str, dict[str, str]]
Told = tuple[str, str, Execution | None, int | None]
"""What the stream will tell: (event, client order id, execution, position after it)."""


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue does where nobody has confirmed what it does.

    `tells_siblings`: the cancel of a group's other member is told. `tells_legs`: a leg that begins to work is told.
    `renames_legs`: a leg that is cut to what the other has left becomes another order.
    `refuses_stops`: no stop is ever accepted again, in a pair neither.
    """

    tells_siblings: bool = False
    tells_legs: bool = False
    renames_legs: bool = False
    refuses_stops: bool = False


class Resting(msgspec.Struct):
    """One order as the exchange keeps it.

    `active`: a held stop that is watched. `elected`: its price was reached. `canceling`: asked to be cancelled, and
    the cancel has not won yet.
    """

    client_id: str
    side: Side
    kind: OrderType
    order_class: OrderClass
    tif: TimeInForce
    qty: int
    limit: int | None
    stop: int | None
    status: OrderStatus = S.NEW
    filled: int = 0
    value: int = 0
    active: bool = False
    elected: bool = False
    canceling: bool = False
    parent: str | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    legs: tuple[str, ...] = ()

    @property
    def live(self) -> bool:
        return not self.status.is_terminal

    @property
    def remaining(self) -> int:
        return self.qty - self.filled

    @property
    def is_entry(self) -> bool:
        return f"-{Leg.ENTRY}-" in self.client_id

    @property
    def word(self) -> OrderStatus:
        """How the exchange names its state to whoever asks."""
        return S.PENDING_CANCEL if self.canceling and self.live else self.status
