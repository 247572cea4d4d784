"""Reading one HTTP/1.1 response from bytes, however they were cut.

Owns the parsing (httptools' state machine) and the bounds; knows no socket and no clock. The one idea: a
reader is made for exactly one response, so anything left over is visibly surplus and the connection that
brought it cannot be trusted with another request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httptools

HEADERS_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response; header names are lower case, repeated headers joined with a comma."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ResponseReader:
    """Collects one response of at most `body_max` bytes of body.

    `fault` says why it can never become one; `complete` that it has; `reusable` that the connection may then
    serve another request.
    """

    def __init__(self, body_max: int) -> None:
        self.fault: str | None = None
        self.complete = False
        self.headers_done = False
        self._body_max = body_max
        self._keep_alive = False
        self._surplus = False
        self._status = 0
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._body = bytearray()
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take the next bytes; afterwards look at `fault` and `complete`."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._surplus = True
            if self.fault is None and not self.complete:
                self.fault = f"not an HTTP response: {type(error).__name__} {str(error)[:100]}"

    def feed_eof(self) -> None:
        """The peer closed cleanly: a body with neither length nor chunks ends here."""
        bounded = "content-length" in self._headers or "transfer-encoding" in self._headers
        if self.headers_done and not bounded and self.fault is None:
            self.complete = True

    @property
    def reusable(self) -> bool:
        return self.complete and self._keep_alive and not self._surplus

    def response(self) -> Response:
        """Return the response, which must be complete; once, since the body is not kept.

        The parser and this reader hold each other, so they stay until the garbage collector comes: megabytes must not.
        """
        assert self.complete, "the response is not complete"
        body, self._body = bytes(self._body), bytearray()
        return Response(self._status, self._headers, body)

    # --- httptools' callbacks: they only collect, because an exception in them would be swallowed

    def on_message_begin(self) -> None:
        self._surplus = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.complete:
            return
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > HEADERS_MAX:
            self.fault = f"response headers of more than {HEADERS_MAX} bytes"
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        if not self.complete:
            self.headers_done = True
            self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if self.complete or self.fault is not None:
            return
        self._body += body
        if len(self._body) > self._body_max:
            self.fault = f"a response body of more than {self._body_max} bytes"

    def on_message_complete(self) -> None:
        if self.complete:
            return
        if 100 <= self._status < 200 and self._status != 101:  # an interim response; the real one follows
            self.headers_done = False
            self._headers = {}
            return
        self.complete = True
        self._keep_alive = self._parser.should_keep_alive()
