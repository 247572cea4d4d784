"""API keys: whether what a client presents is a key and secret the exchange knows.

Owns the comparison and the header forms the venue accepts (its two headers, HTTP Basic, or an OAuth token); nothing
else. A token is the secret of the key "oauth", as on the streams.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Final

Credentials = Mapping[str, str]
"""Key to secret."""

OAUTH_KEY: Final = "oauth"


def is_known(credentials: Credentials, key: object, secret: object) -> bool:
    """Return whether `key` exists and `secret` is its secret."""
    if not isinstance(key, str) or not isinstance(secret, str):
        return False
    return hmac.compare_digest(credentials.get(key, "\0").encode(), secret.encode())


def presented(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the (key, secret) in a request's headers, or None if it presents none at all."""
    key, secret = headers.get("APCA-API-KEY-ID"), headers.get("APCA-API-SECRET-KEY")
    if key is not None or secret is not None:
        return key or "", secret or ""
    scheme, _, rest = headers.get("Authorization", "").partition(" ")
    if not scheme:
        return None
    if scheme.lower() == "bearer":
        return OAUTH_KEY, rest
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(rest, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password
