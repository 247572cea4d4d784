"""Asking the venue once who we are there and what time it is: for an examination, not for trading.

Owns one short-lived connection. May not change anything at the venue.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from hands.core.events import AccountReport
from hands.core.units import Ns
from hands.venues.alpaca import encode
from hands.venues.alpaca.decode import DecodeError, decode_account, decode_clock, decode_error
from hands.venues.alpaca.endpoints import Credentials, Endpoints, origin_of
from hands.venues.alpaca.http import HttpError, HttpPool


@dataclass(frozen=True, slots=True)
class Interview:
    """The account, and by how much this machine's clock is ahead of the venue's, give or take half the way there and back."""

    account: AccountReport
    ahead_ns: int
    round_trip_ns: int


def interview(endpoints: Endpoints, credentials: Credentials, timeout_s: float) -> Interview:
    """Return what the venue says.

    Raises:
        OSError: it did not answer, refused, or said something unreadable; the message says which.
    """
    return asyncio.run(_interview(endpoints, credentials, timeout_s))


async def _interview(endpoints: Endpoints, credentials: Credentials, timeout_s: float) -> Interview:
    pool = HttpPool(origin_of(endpoints.trading), credentials, connections=1, timeout_s=timeout_s)
    try:
        account = decode_account(
            await _get(pool, encode.ACCOUNT_PATH), asked_ns=Ns(time.time_ns()), ts_ns=Ns(time.time_ns())
        )
        asked_ns = time.time_ns()
        clock = decode_clock(await _get(pool, encode.CLOCK_PATH))
        answered_ns = time.time_ns()
    except HttpError as error:
        raise OSError(str(error)) from error
    except DecodeError as error:
        raise OSError(f"an unreadable answer: {error}") from error
    finally:
        await pool.close()
    ahead_ns = (asked_ns + answered_ns) // 2 - clock.timestamp_ns
    return Interview(account, ahead_ns, answered_ns - asked_ns)


async def _get(pool: HttpPool, path: str) -> bytes:
    response = await pool.fetch("GET", path)
    if response.status != 200:
        raise OSError(f"GET {path}: HTTP {response.status} {decode_error(response.body)[1]}")
    return response.body
