"""Bodies of HTTP messages: JSON read from a request, the answers that every part of the port writes.

Owns their form; what they say is whoever's that refuses or answers.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

import orjson
from aiohttp import hdrs, web

DEPTH_MAX: Final = 64
"""How deep a document may be nested; what anything here means ends far before."""

_CHALLENGE: Final = 'Bearer, Basic realm="alpaca.markets"'


def read_json(raw: bytes) -> Any:
    """Return a JSON document with its fractions as `Decimal`, so that a number means what its text says.

    Raises:
        ValueError: it is none, also for what only Python takes for JSON (NaN, half a surrogate pair, other
            encodings than UTF-8), and for nesting without end.
    """
    try:
        document = json.loads(raw.decode(), parse_float=Decimal, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    check_repeatable(document)
    return document


def check_repeatable(value: Any, depth: int = 0) -> None:
    """Raise `ValueError` if a document could be read but never be written: its depth, half a surrogate pair."""
    if depth > DEPTH_MAX:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, list):
        for item in value:
            check_repeatable(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            key.encode()
            check_repeatable(item, depth + 1)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def json_response(document: Any, status: int = 200) -> web.Response:
    """Return `document` as a JSON answer."""
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


def unauthorized() -> web.Response:
    """Return the 401 of the API itself."""
    return challenged(json_response({"message": "unauthorized."}, 401))


def challenged(response: web.Response) -> web.Response:
    """Return a 401 with the header that says how to authenticate."""
    response.headers[hdrs.WWW_AUTHENTICATE] = _CHALLENGE
    return response


def proxy_page(status: int, reason: str) -> web.Response:
    """Return the page that the proxy in front of the venue writes by itself."""
    page = (
        f"<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n"
        f"<center><h1>{status} {reason}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return web.Response(text=page, status=status, content_type="text/html")
