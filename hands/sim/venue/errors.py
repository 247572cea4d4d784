"""The venue's refusals: HTTP status, numeric code, message and extra keys, as its REST API sends them.

Owns the shape of a refusal and the texts that more than one place needs. Codes are reused for unrelated
errors, so a client needs (status, code, message); the texts marked "unconfirmed" were never observed.
"""

from __future__ import annotations

from typing import Any

PARAMETER = 40010001
RULE = 42210000
FORBIDDEN = 40310000
NOT_FOUND = 40410000
RATE_LIMIT = 42910000


class VenueError(Exception):
    """A request the venue says no to; nothing has changed."""

    def __init__(self, status: int, code: int | None, message: str, **extras: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.extras = extras

    def body(self) -> dict[str, Any]:
        """Return the JSON document: `code` first, absent where the venue sends none."""
        head: dict[str, Any] = {} if self.code is None else {"code": self.code}
        return head | {"message": self.message} | self.extras


def parameter(message: str) -> VenueError:
    """A field is missing, malformed or contradicts another (422 with the 400-style code, as observed)."""
    return VenueError(422, PARAMETER, message)


def rule(message: str, **extras: Any) -> VenueError:
    """The order is well formed and against a trading rule."""
    return VenueError(422, RULE, message, **extras)


def forbidden(message: str, **extras: Any) -> VenueError:
    """The account may not do this now: money, shares, wash trade."""
    return VenueError(403, FORBIDDEN, message, **extras)


def not_found(message: str) -> VenueError:
    return VenueError(404, NOT_FOUND, message)


def order_not_found(order_id: str) -> VenueError:
    return not_found(f"order not found for {order_id}")
