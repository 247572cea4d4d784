"""What the letters on the tapes mean: exchanges, trade conditions and quote conditions, tape by tape.

Owns tables of public codes, as the two tape plans (A and B: consolidated tape, C: Nasdaq's) publish them, who lists
a stock, and what a sale condition keeps a print out of, as the venue documents it for minute bars.
"""

from __future__ import annotations

from typing import Final

from hands.sim.market.feeds import is_crypto

LISTINGS: Final = {"SPY": "B", "QQQ": "C", "BAC": "A", "IBM": "A", "AIG": "A", "FAKEPACA": "N"}
"""Who lists the stock: A New York, B the other exchanges, C Nasdaq; others by the length of their symbol."""

EXCHANGES: Final = {
    "A": "NYSE American (AMEX)",
    "B": "NASDAQ OMX BX",
    "C": "National Stock Exchange",
    "D": "FINRA ADF",
    "E": "Market Independent",
    "H": "MIAX",
    "I": "International Securities Exchange",
    "J": "Cboe EDGA",
    "K": "Cboe EDGX",
    "L": "Long Term Stock Exchange",
    "M": "Chicago Stock Exchange",
    "N": "New York Stock Exchange",
    "P": "NYSE Arca",
    "Q": "NASDAQ OMX",
    "S": "NASDAQ Small Cap",
    "T": "NASDAQ Int",
    "U": "Members Exchange",
    "V": "IEX",
    "W": "CBOE",
    "X": "NASDAQ OMX PSX",
    "Y": "Cboe BYX",
    "Z": "Cboe BZX",
}

_CONSOLIDATED_TRADES: Final = {
    " ": "Regular Sale",
    "B": "Average Price Trade",
    "C": "Cash Trade (Same Day Clearing)",
    "E": "Automatic Execution",
    "F": "Inter-market Sweep Order",
    "H": "Price Variation Trade",
    "I": "Odd Lot Trade",
    "K": "Rule 127 (NYSE only) or Rule 155 (NYSE MKT only)",
    "L": "Sold Last (Late Reporting)",
    "M": "Market Center Official Close",
    "N": "Next Day Trade (Next Day Clearing)",
    "O": "Market Center Opening Trade",
    "P": "Prior Reference Price",
    "Q": "Market Center Official Open",
    "R": "Seller",
    "T": "Extended Hours Trade",
    "U": "Extended Hours Sold (Out Of Sequence)",
    "V": "Contingent Trade",
    "X": "Cross Trade",
    "Z": "Sold (Out Of Sequence)",
    "4": "Derivatively Priced",
    "5": "Market Center Reopening Trade",
    "6": "Market Center Closing Trade",
    "7": "Qualified Contingent Trade",
    "8": "Reserved",
    "9": "Corrected Consolidated Close Price as per Listing Market",
}
_NASDAQ_TRADES: Final = {
    "@": "Regular Sale",
    "A": "Acquisition",
    "B": "Bunched Trade",
    "C": "Cash Sale",
    "D": "Distribution",
    "E": "Placeholder",
    "F": "Intermarket Sweep",
    "G": "Bunched Sold Trade",
    "H": "Price Variation Trade",
    "I": "Odd Lot Trade",
    "K": "Rule 155 Trade (AMEX)",
    "L": "Sold Last",
    "M": "Market Center Official Close",
    "N": "Next Day",
    "O": "Opening Prints",
    "P": "Prior Reference Price",
    "Q": "Market Center Official Open",
    "R": "Seller",
    "S": "Split Trade",
    "T": "Form T",
    "U": "Extended trading hours (Sold Out of Sequence)",
    "V": "Contingent Trade",
    "W": "Average Price Trade",
    "X": "Cross Trade",
    "Y": "Yellow Flag Regular Trade",
    "Z": "Sold (out of sequence)",
    "1": "Stopped Stock (Regular Trade)",
    "4": "Derivatively priced",
    "5": "Re-Opening Prints",
    "6": "Closing Prints",
    "7": "Qualified Contingent Trade (QCT)",
    "8": "Placeholder For 611 Exempt",
    "9": "Corrected Consolidated Close (per listing market)",
}
_CONSOLIDATED_QUOTES: Final = {
    "A": "Slow Quote Offer Side",
    "B": "Slow Quote Bid Side",
    "C": "Closing Quote",
    "E": "Slow Quote LRP Bid Side",
    "F": "Slow Quote LRP Offer Side",
    "H": "Slow Quote Bid And Offer Side",
    "L": "Market Maker Quotes Closed",
    "N": "Non Firm Quote",
    "O": "Opening Quote",
    "R": "Regular Market Maker Open",
    "U": "Slow Quote LRP Bid And Offer",
    "W": "Slow Quote Set Slow List",
    "4": "On Demand Intra Day Auction",
}
_NASDAQ_QUOTES: Final = {
    "A": "Manual Ask Automated Bid",
    "B": "Manual Bid Automated Ask",
    "F": "Fast Trading",
    "H": "Manual Bid And Ask",
    "I": "Order Imbalance",
    "L": "Closed Quote",
    "N": "Non Firm Quote",
    "O": "Opening Quote Automated",
    "R": "Regular Two Sided Open",
    "U": "Manual Bid And Ask Non Firm",
    "X": "Order Influx",
    "Y": "No Offer No Bid One Sided Open",
    "Z": "No Open No Resume",
    "4": "On Demand Intra Day Auction",
}

TRADE_CONDITIONS: Final = {"A": _CONSOLIDATED_TRADES, "B": _CONSOLIDATED_TRADES, "C": _NASDAQ_TRADES}
QUOTE_CONDITIONS: Final = {"A": _CONSOLIDATED_QUOTES, "B": _CONSOLIDATED_QUOTES, "C": _NASDAQ_QUOTES}

UNCOUNTED: Final = frozenset("MQ9")
"""Official prices and corrections of them: no sales, so that a bar takes neither price nor volume from them."""

_UNPRICED: Final = frozenset("CHIMNPQRUVZ479")
"""Odd lots, sales out of their time, contingent on something else or at a price made elsewhere: volume only."""
_UNPRICED_BY_TAPE: Final = {"A": _UNPRICED | {"B"}, "B": _UNPRICED | {"B"}, "C": _UNPRICED | {"G", "W"}}


def listing_tape(symbol: str) -> str:
    """Return the tape ("A", "B", "C", "N") that a stock's trades are reported on."""
    return LISTINGS.get(symbol) or ("C" if len(symbol) >= 4 else "A")


def unpriced_conditions(symbol: str) -> frozenset[str]:
    """Return the sale conditions that keep a print's price out of a bar: any one of them does. Coins have none."""
    return frozenset() if is_crypto(symbol) else _UNPRICED_BY_TAPE.get(listing_tape(symbol), _UNPRICED)
