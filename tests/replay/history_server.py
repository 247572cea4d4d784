"""A venue's data host with a made-up past, served in pages of a few items, and with whatever trouble a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

BEGIN = "2024-01-02T15:00:0"
ITEMS = 23
PAGE = 5


def item(kind: str, symbol: str, number: int) -> dict[str, Any]:
    """Return an item of the past, a few in each second, some at the same nanosecond."""
    at = f"{BEGIN}{number // 4}.{number // 2:09d}Z" if kind != "bars" else f"2024-01-02T15:{number:02d}:00Z"
    if kind == "bars":
        return {"t": at, "o": 10.5, "h": 11.25, "l": 10, "c": 11, "v": 100 + number, "n": 3, "vw": 10.4}
    stock = {} if "/" in symbol else {"z": "C"}
    if kind == "quotes":
        sides = {"bp": round(10.01 + number, 2), "bs": 100, "ap": round(10.02 + number, 2), "as": 200}
        return {"t": at, **sides, **({"bx": "V", "ax": "Q", "c": ["R"]} if stock else {}), **stock}
    trade = {"t": at, "p": round(10.01 + number, 2), "s": 1 if stock else 0.000000001, "i": 2**53 + number}
    if not stock:
        return trade | {"tks": "S"}
    marks = {"u": "canceled"} if number == 7 else {}
    return trade | {"x": "V", "c": ["@", "I"] if number % 3 else ["@"]} | stock | marks


class HistoryServer:
    """Answers at `url`; `troubles` are used up first, one a request: (status, headers, body)."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.troubles: list[tuple[int, dict[str, str], str]] = []
        self.pages_until_hang: int | None = None
        """After so many answers it says nothing any more, until `go_on`."""
        self.hangs = threading.Event()
        self.go_on = threading.Event()
        self.past = item
        self.url = ""

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, str], str]:
        self.asked.append((path, query))
        if self.troubles:
            return self.troubles.pop(0)
        if self.pages_until_hang is not None:
            if self.pages_until_hang == 0:
                self.hangs.set()
                self.go_on.wait(30)
            self.pages_until_hang -= 1
        kind, symbol = path.rpartition("/")[2], query["symbols"]
        first = int(query.get("page_token", "0").removeprefix("after "))
        items = [self.past(kind, symbol, number) for number in range(first, min(first + PAGE, ITEMS))]
        token = f"after {first + PAGE}" if first + PAGE < ITEMS else None
        if symbol == "NONE":
            return 200, {}, json.dumps({kind: {}, "next_page_token": None})
        return 200, {}, json.dumps({kind: {symbol: items}, "next_page_token": token})


@contextmanager
def history_server() -> Iterator[HistoryServer]:
    served = HistoryServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # head and body in one packet

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, headers, text = served.answer(parts.path, query)
            body = text.encode()
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()
            except OSError:
                self.close_connection = True  # whoever asked was killed

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        served.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
