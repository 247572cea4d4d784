"""The venue's habits that nobody has confirmed, each a switch; and how long the venue takes for what.

Owns the list: name, what it may be, what it is unless told otherwise, and one line that says what it decides. A
client that is safe must be safe with every one of them either way. May not act: whoever has the habit asks.

A default is what was observed or documented last; the alternatives are what other reports, older documents or
common sense say. One default is neither: prints within the quote elect stops, the venue documents, but many a market
made by hand is moved by prints alone, so that `stop_prints` is "any" unless told otherwise.

`Latency` is not a guess but a choice of the operator: how slow this exchange is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Self

from hands.core.units import NS_PER_MS, Ns


class QuirkError(ValueError):
    """A switch that does not exist, or a value it cannot have; the message says which and what is allowed."""


def _quirk(allowed: str, what: str) -> Any:
    """Declare a switch: its values, the default first, and what it decides."""
    choices = tuple(allowed.split(" "))
    return field(default=choices[0], metadata={"allowed": choices, "what": what})


@dataclass(frozen=True, slots=True)
class Quirks:
    """Every switch; values are words, so that a command line, a document and a test say the same."""

    # order life
    partial_entry_legs: str = _quirk(
        "canceled kept",
        "legs of a partly filled entry whose remainder is canceled: gone, or active for what filled",
    )
    stop_leg_status: str = _quirk("held new", "status of a bracket's stop once the entry is filled")
    stop_cancel_event: str = _quirk(
        "none sent", "trade update for the stop that a filled take-profit cancels"
    )
    target_after_stop: str = _quirk(
        "canceled replaced", "what a filled stop makes of the take-profit beside it"
    )
    reduced_stop: str = _quirk(
        "same_id new_id silent",
        "a leg cut to the remainder of the other: same order (`restated`), a new one, or no event",
    )
    held_event: str = _quirk("none sent", "`held` trade updates for legs")
    recancel: str = _quirk("accepted refused", "DELETE of an order that is already canceled: 204 or 422")
    cancel_when_closed: str = _quirk(
        "immediate pending", "equity cancels while the market is closed stay pending_cancel"
    )
    replace_qty: str = _quirk(
        "total remaining",
        "what `qty` of a replacement means: all of it, or what remains when it is asked for",
    )
    buy_stop: str = _quirk(
        "limited market", "an elected buy stop: a limit 4 % (2.5 % from 50 USD) above it, or any price"
    )
    stop_prints: str = _quirk(
        "any within_quote", "prints that elect equity stops: every one, or those within the quote"
    )
    day_end: str = _quirk(
        "resting done_for_day",
        "gtc equity orders at the close: as they were, or done_for_day until the opening",
    )
    extended_tif: str = _quirk("day_gtc day", "times in force of extended-hours limit orders")
    ioc_fok: str = _quirk("accepted refused", "equity orders that are ioc or fok")
    auctions: str = _quirk("accepted refused", "opg and cls orders within their hours")
    close_crypto_tif: str = _quirk("gtc ioc", "time in force of the order that closes a coin position")
    # refusals
    open_duplicate_code: str = _quirk(
        "42210000 40010001", "code of `client_order_id must be unique` while that order is open"
    )
    bracket_entry_refusal: str = _quirk("422 403", "status of `bracket orders must be entry orders`")
    not_fractionable_refusal: str = _quirk(
        "422 403", "status of a fractional order in an asset that is not fractionable"
    )
    both_amounts_status: str = _quirk("422 400", "status of an order with both qty and notional")
    malformed_order_id: str = _quirk("422 404", "status for an order id that is no UUID")
    short_flip: str = _quirk("qty_available cannot_flip", "refusal of a sale larger than the position")
    bracket_additions: str = _quirk(
        "accepted refused", "brackets that add to a holding: entry orders like any other, or not"
    )
    hard_to_borrow_tif: str = _quirk(
        "all sells", "which orders in a hard-to-borrow asset must be day orders: all, or what sells"
    )
    simple_legs: str = _quirk(
        "refused ignored",
        "take_profit and stop_loss of a simple order: a mistake that is shown, or passed over",
    )
    halted_market: str = _quirk("refused queued", "market orders in a halted symbol")
    cls_cutoff: str = _quirk("3:55pm 3:50pm", "until when cls orders are taken")
    # documents
    order_class_text: str = _quirk("empty simple", '`order_class` of a simple order: "" or "simple"')
    position_intent_field: str = _quirk("present absent", "`position_intent` in orders")
    pdt_fields: str = _quirk("absent present", "the day-trading fields of the account, sunset in 2026")
    short_qty: str = _quirk("negative positive", "sign of a short position's qty; `side` tells in any case")
    open_lists_held: str = _quirk("yes no", "GET /v2/orders?status=open without nesting shows held legs")
    activity_id_zone: str = _quirk("new_york utc", "zone of the time that an activity's id begins with")
    crypto_fees: str = _quirk("day_end at_fill", "when CFEE activities are posted")
    # requests
    rate_headers: str = _quirk("present absent", "X-RateLimit-* on the trading host")
    rate_window: str = _quirk("fixed sliding", "how requests are counted to the minute")
    rate_body: str = _quirk("coded plain html", "body of a 429: with a code, only a message, or nginx's page")
    keyless_body: str = _quirk(
        "json html", "body of the 401 for a request without keys to /v2/clock and /v2/calendar"
    )
    # trade stream
    trade_frames: str = _quirk("binary text", "opcode of the trade stream's frames")
    event_ids: str = _quirk("present absent", "`event_id` in trade updates")
    life_execution_ids: str = _quirk("present absent", "`execution_id` on events that are no fills")
    update_zone: str = _quirk(
        "utc new_york", "offset of created, updated and submitted times in trade updates"
    )
    heartbeat: str = _quirk("none byte", "a frame of the single byte 0x01 every ten seconds")
    trade_connections: str = _quirk("many one", "trade streams per account; a second upgrade is answered 429")
    events_replay: str = _quirk("served absent", "GET /v2/events/trades, the replay of trade updates")
    # market data
    data_error_close: str = _quirk("closed open", "the market-data connection after errors 402, 404 and 406")
    header_auth_greeting: str = _quirk(
        "both authenticated", "success messages when the keys are in the upgrade's headers"
    )
    linger: str = _quirk("none 90s", "how long a dropped market-data connection still counts (406)")

    @classmethod
    def parse(cls, words: Iterable[str]) -> Self:
        """Return the defaults with `name=value` words applied. Raises `QuirkError`."""
        chosen: dict[str, str] = {}
        for word in words:
            name, equals, value = word.partition("=")
            if not equals:
                raise QuirkError(f"quirk {word!r} is not NAME=VALUE")
            chosen[name.strip().replace("-", "_")] = value.strip()
        return cls.of(chosen)

    @classmethod
    def of(cls, chosen: Mapping[str, str]) -> Self:
        """Return the defaults with `chosen` applied. Raises `QuirkError` for a name or value that does not exist."""
        table = catalogue()
        for name, value in chosen.items():
            if name not in table:
                raise QuirkError(f"no quirk {name!r}; there are {', '.join(table)}")
            if value not in table[name].allowed:
                raise QuirkError(f"quirk {name} is {value!r}; allowed: {', '.join(table[name].allowed)}")
        return replace(cls(), **chosen)


@dataclass(frozen=True, slots=True)
class QuirkEntry:
    """One line of the catalogue; the first of `allowed` is the default."""

    name: str
    allowed: tuple[str, ...]
    what: str


def catalogue() -> dict[str, QuirkEntry]:
    """Return every switch by name, in the order of their declaration."""
    return {f.name: QuirkEntry(f.name, f.metadata["allowed"], f.metadata["what"]) for f in fields(Quirks)}


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the exchange takes, nanoseconds of its own clock; 0 is at once, within the request.

    `ack_ns`: from `pending_new` to `new`. `fill_ns`: from being matchable to the first match of a new order.
    `cancel_ns`, `replace_ns`: how long an order is `pending_cancel`, `pending_replace` (and can still fill).
    `settle_ns`: how long after a fill the books are behind, so that an OCO is refused.
    """

    ack_ns: Ns = Ns(0)
    fill_ns: Ns = Ns(0)
    cancel_ns: Ns = Ns(0)
    replace_ns: Ns = Ns(0)
    settle_ns: Ns = Ns(0)

    @classmethod
    def of_ms(cls, **ms: float) -> Self:
        """Return the latency with the named times, in milliseconds ("ack", "fill", "cancel", "replace", "settle")."""
        return cls(**{f"{name}_ns": Ns(int(value * NS_PER_MS)) for name, value in ms.items()})


IMMEDIATE: Final = Latency()
PLAIN: Final = Quirks()
