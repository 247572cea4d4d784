"""The watchdog's own line to the venue: what is there, and the two things that it may do about it.

Owns its connections and its own part of the request budget. May not send anything but a cancel and a `ReducingOrder`: the
types say so. The one idea: an answer is only worth what the next look finds, so a request that failed is nothing but a
reason to look again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import msgspec

from hands.core.events import Asset, PositionSnapshot, VenueOrder
from hands.core.guard_sheet import GuardSheet
from hands.core.orders import ReducingOrder, is_ours
from hands.core.units import NS_PER_S, NumberError, Price, Qty, nano_truncated, round_to_tick
from hands.venues.alpaca import encode
from hands.venues.alpaca.decode import decode_error
from hands.venues.alpaca.endpoints import Credentials, Endpoints, origin_of
from hands.venues.alpaca.http import HttpError, HttpPool
from hands.venues.alpaca.rate import RateBudget
from hands.venues.alpaca.snapshots import Snapshots

LOOK_BACK_NS = 7 * 24 * 3600 * NS_PER_S
"""How far back orders are read where no sheet says how old our trades are."""

SESSION_S = 20.0
"""How long the venue's word on the session is believed."""

OVERLAP_NS = 60 * NS_PER_S


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue holds: our orders with their legs, open and recent, every position, and whether equities trade."""

    orders: tuple[VenueOrder, ...]
    positions: tuple[PositionSnapshot, ...]
    session_open: bool


class Refused(Exception):  # noqa: N818  (says what is the case)
    """The venue refused; `available` is what it says could be sold, `is_twin` that the id is taken already."""

    def __init__(self, message: str, available: Qty | None, *, is_twin: bool) -> None:
        super().__init__(message)
        self.available = available
        self.is_twin = is_twin


class Unanswered(Exception):  # noqa: N818  (says what is the case)
    """No usable answer: what became of the request is for the next look to find."""


class Line:
    """Asks and acts for one silence of the engine; closed when that is over. Raises `VenueUnavailable` where it asks."""

    def __init__(
        self,
        endpoints: Endpoints,
        credentials: Credentials,
        *,
        symbols: Iterable[str],
        close_intent: bool,
        requests_per_minute: int,
        timeout_s: float,
    ) -> None:
        budget, data_budget = (RateBudget.sharing(requests_per_minute) for _ in range(2))
        self._close_intent = close_intent
        self._session: tuple[float, bool] | None = None
        self._assets: dict[str, Asset] = {}
        self._asked: set[str] = set()
        self._snapshots = Snapshots(
            endpoints,
            credentials,
            time.time_ns,
            symbols=symbols,
            budget=budget,
            data_budget=data_budget,
            timeout_s=timeout_s,
        )
        self._acts = HttpPool(
            origin_of(endpoints.trading), credentials, connections=1, timeout_s=timeout_s, budget=budget
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._snapshots.close()
        await self._acts.close()

    async def account_number(self) -> str:
        return (await self._snapshots.account()).account_number

    async def truth(self, sheet: GuardSheet | None, wall_ns: int, names: Iterable[str] = ()) -> Truth:
        """Return everything that matters: positions before orders, so that a fill in between makes nothing more ours.

        `names`: client order ids that are asked for besides.
        """
        report = await self._snapshots.truth(tuple(names))
        starts = [] if sheet is None else [trade.entry_created_ns for trade in sheet.trades]
        since_ns = min(starts, default=wall_ns if sheet is not None else wall_ns - LOOK_BACK_NS) - OVERLAP_NS
        recent = await self._snapshots.day_orders(since_ns)
        orders = {order.order_id: order for order in report.orders if is_ours(order.client_order_id)}
        orders.update((order.order_id, order) for order in recent.orders)
        is_open = await self._session_open()
        return Truth(orders=tuple(orders.values()), positions=report.positions, session_open=is_open)

    async def _session_open(self) -> bool:
        now_s = time.monotonic()
        if self._session is None or now_s >= self._session[0]:
            self._session = now_s + SESSION_S, (await self._snapshots.session()).is_open
        return self._session[1]

    async def assets(self, symbols: Iterable[str]) -> dict[str, Asset]:
        """Return what the venue says of `symbols`, each asked for once."""
        unknown = sorted(set(symbols) - self._asked)
        if unknown:
            report = await self._snapshots.assets(unknown)
            self._assets |= {asset.symbol: asset for asset in report.assets}
            self._asked.update(unknown)
        return self._assets

    async def quote(self, symbol: str) -> tuple[Price, Price] | None:
        """Return (bid, ask), None where the venue has no two-sided quote."""
        found = await self._snapshots.latest_quote(symbol)
        if found is None or found[0] <= 0 or found[1] <= 0:
            return None
        return round_to_tick(found[0], 1), round_to_tick(found[1], 1)

    # --- acts ----------------------------------------------------------------------------------------------

    async def cancel(self, order: VenueOrder, *, unless: Callable[[], bool]) -> None:
        """Ask for a cancel; that it is over already is no refusal. Raises Refused, Unanswered.

        `unless` calls it off, as for `HttpPool.fetch`: then it is Unanswered.
        """
        await self._act("DELETE", encode.order_path(order.order_id), None, unless)

    async def submit(self, order: ReducingOrder, *, unless: Callable[[], bool]) -> None:
        """Send an order that can only reduce. `unless` as for `cancel`. Raises Refused, Unanswered."""
        body = encode.submit_body(order, close_intent=self._close_intent)
        await self._act("POST", encode.ORDERS_PATH, body, unless)

    async def _act(self, method: str, path: str, body: bytes | None, unless: Callable[[], bool]) -> None:
        try:
            response = await self._acts.fetch(method, path, body, unless=unless)
        except HttpError as error:
            raise Unanswered(str(error)) from None
        if response.status < 300 or (method == "DELETE" and response.status in (404, 422)):
            return
        code, message, extras = decode_error(response.body)
        said = f"{response.status} {code or ''} {message}".replace("  ", " ").strip()
        if response.status >= 500 or response.status in (408, 425, 429):
            raise Unanswered(said)
        twin = "client_order_id must be unique" in message
        raise Refused(said, _amount(extras.get("available")), is_twin=twin)


def _amount(text: str | None) -> Qty | None:
    try:
        return None if text is None else Qty(nano_truncated(text))
    except NumberError:
        return None
