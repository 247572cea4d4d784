"""What the venue's history holds, in columns: trades, quotes and bars with everything it says of them.

Owns the layouts and the reading of the venue's JSON into them. May not leave out more than it must: prints that were
canceled or replaced since, as the venue marks them, are none. The one idea: text that repeats (exchanges, conditions,
tapes) is a number in a vocabulary, so that an item is a few numbers and a page an array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import field

from hands.replay.tables import NotPlain, utc_times
from hands.sim.market.alpaca_files import TAKEN_BACK

TRADES: Final = np.dtype(
    [
        ("t_ns", "i8"), ("id", "i8"), ("price", "f8"), ("size", "f8"), ("symbol", "i4"), ("exchange", "i4"),
        ("conditions", "i4"), ("tape", "i4"),
    ]
)  # fmt: skip
QUOTES: Final = np.dtype(
    [
        ("t_ns", "i8"), ("bid_price", "f8"), ("bid_size", "f8"), ("ask_price", "f8"), ("ask_size", "f8"),
        ("symbol", "i4"), ("bid_exchange", "i4"), ("ask_exchange", "i4"), ("conditions", "i4"), ("tape", "i4"),
    ]
)  # fmt: skip
BARS: Final = np.dtype(
    [
        ("t_ns", "i8"), ("open", "f8"), ("high", "f8"), ("low", "f8"), ("close", "f8"), ("volume", "f8"),
        ("trade_count", "f8"), ("vwap", "f8"), ("symbol", "i4"),
    ]
)  # fmt: skip
LAYOUTS: Final[Mapping[str, np.dtype[Any]]] = {"trades": TRADES, "quotes": QUOTES, "bars": BARS}


class ItemsError(ValueError):
    """The venue wrote something that no item can be."""


class Vocabulary:
    """Texts and their numbers, in the order in which they were first met."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def numbers(self, texts: Sequence[str]) -> np.ndarray:
        """Return each text's number."""
        known = self._numbers
        for text in dict.fromkeys(texts):
            known.setdefault(text, len(known))
        return np.fromiter(map(known.__getitem__, texts), "i4", len(texts))

    def texts(self, numbers: np.ndarray) -> list[str]:
        """Return what was given these numbers."""
        known = np.array([*self._numbers, ""], object)
        found: list[str] = known[numbers].tolist()
        return found


class _Trade(msgspec.Struct, gc=False):
    t: str
    p: float
    s: float
    i: int = 0
    x: str = ""
    c: list[str] | None = None
    z: str = ""
    u: str = ""
    tks: str = ""


class _Quote(msgspec.Struct, gc=False):
    t: str
    bp: float
    bs: float
    ap: float
    ask_size: float = field(name="as")
    bx: str = ""
    ax: str = ""
    c: list[str] | None = None
    z: str = ""


class _Bar(msgspec.Struct, gc=False):
    t: str
    o: float
    h: float
    l: float  # noqa: E741  the venue's letter
    c: float
    v: float
    n: float = 0.0
    vw: float = 0.0


_DECODERS: Final[Mapping[str, msgspec.json.Decoder[Any]]] = {
    "trades": msgspec.json.Decoder(list[_Trade]),
    "quotes": msgspec.json.Decoder(list[_Quote]),
    "bars": msgspec.json.Decoder(list[_Bar]),
}


def items_of(kind: str, raw: bytes, symbol: str, words: Vocabulary) -> np.ndarray:
    """Return what an array of the venue's JSON holds, in its order. Raises `ItemsError`."""
    try:
        listed = _DECODERS[kind].decode(raw)
        if kind == "trades":
            listed = [trade for trade in listed if trade.u not in TAKEN_BACK]
        times = utc_times([item.t for item in listed])
    except (msgspec.DecodeError, UnicodeDecodeError, NotPlain) as error:
        raise ItemsError(f"the venue's {kind} of {symbol} cannot be read: {error}") from None
    found = np.zeros(len(listed), LAYOUTS[kind])
    found["t_ns"] = times
    found["symbol"] = words.numbers([symbol])
    _FILLERS[kind](found, listed, words)
    return found


def _fill_trades(found: np.ndarray, trades: Sequence[_Trade], words: Vocabulary) -> None:
    for name, member in (("price", "p"), ("size", "s"), ("id", "i")):
        found[name] = [getattr(trade, member) for trade in trades]
    found["exchange"] = words.numbers([trade.x for trade in trades])
    found["tape"] = words.numbers([trade.z for trade in trades])
    # A coin has no conditions; who took is worth keeping, and the readers of coins pass over it.
    found["conditions"] = words.numbers([" ".join(trade.c or ()).strip() or trade.tks for trade in trades])


def _fill_quotes(found: np.ndarray, quotes: Sequence[_Quote], words: Vocabulary) -> None:
    members = {"bid_price": "bp", "bid_size": "bs", "ask_price": "ap", "ask_size": "ask_size"}
    for name, member in members.items():
        found[name] = [getattr(quote, member) for quote in quotes]
    found["bid_exchange"] = words.numbers([quote.bx for quote in quotes])
    found["ask_exchange"] = words.numbers([quote.ax for quote in quotes])
    found["tape"] = words.numbers([quote.z for quote in quotes])
    found["conditions"] = words.numbers([" ".join(quote.c or ()).strip() for quote in quotes])


def _fill_bars(found: np.ndarray, bars: Sequence[_Bar], words: Vocabulary) -> None:  # noqa: ARG001
    members = {
        "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "trade_count": "n", "vwap": "vw",
    }  # fmt: skip
    for name, member in members.items():
        found[name] = [getattr(bar, member) for bar in bars]


_FILLERS: Final[Mapping[str, Callable[[np.ndarray, Any, Vocabulary], None]]] = {
    "trades": _fill_trades,
    "quotes": _fill_quotes,
    "bars": _fill_bars,
}
