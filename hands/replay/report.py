"""A report as one HTML file that needs nothing else: no network, no font, no script to be read.

Owns the page's frame and writing it. May not compute or draw. The one idea: the page forbids itself everything (a
content security policy that names its one script by its digest), so whatever an agent wrote into a thesis is text.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sqlite3
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path

from hands.replay import conduct, headlines
from hands.replay.method import method
from hands.replay.prices import Prices
from hands.replay.report_data import Document, Found, find
from hands.replay.trade_list import trade_list
from hands.replay.words import said

NAVIGATION = (
    ("equity", "Equity"),
    ("sources", "Sources"),
    ("trades", "Trades"),
    ("verdicts", "Verdicts"),
    ("gates", "Gates"),
    ("execution", "Execution"),
    ("protection", "Protection"),
    ("happenings", "Alerts"),
    ("method", "Method"),
)


def write_report(
    ledger: sqlite3.Connection,
    prices: Prices,
    path: Path,
    *,
    title: str,
    tz: str = "UTC",
    from_ns: int | None = None,
    to_ns: int | None = None,
    capital: int | None = None,
) -> Document:
    """Write the page of a ledger's time to `path`, whole or not at all, and return its numbers (`report_data`).

    `ledger` has the views of `hands.db`; it is only read. `capital` in nano-dollars.

    Raises:
        ValueError, sqlite3.Error: as `hands.replay.report_data.find`.
        OSError: the file cannot be written.
    """
    found = find(ledger, prices, title=title, tz=tz, from_ns=from_ns, to_ns=to_ns, capital=capital)
    write_whole(path, page(found, prices))
    return found.document


def page(found: Found, prices: Prices) -> str:
    """Return the page."""
    style, script = asset("page.css"), asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    links = "".join(f'<a href="#{name}">{word}</a>' for name, word in NAVIGATION)
    parts = (
        headlines.head(found),
        headlines.tiles(found),
        f'<nav aria-label="Sections">{links}</nav>',
        headlines.equity(found),
        headlines.sources(found),
        trade_list(found, prices),
        conduct.verdicts(found),
        conduct.gates(found),
        conduct.execution(found),
        conduct.protection(found),
        conduct.happenings(found),
        method(found),
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>{said(found.title, 200)} \u00b7 Hands</title><style>{style}</style></head>"
        f"<body><main>{''.join(parts)}</main><script>{script}</script></body></html>\n"
    )


@cache
def asset(name: str) -> str:
    """Return a part of the page that is the same in every report."""
    return (files("hands.replay") / "assets" / name).read_text("utf-8")


def write_whole(path: Path, text: str) -> None:
    """Write a file (0600: it tells of an account) so that it is there whole or as it was. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    fresh = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
