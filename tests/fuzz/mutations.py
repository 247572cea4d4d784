"""Documents that are nearly good: seeds, and the ways in which a hostile or broken author changes them.

Owns the inputs of the fuzzer; knows nothing of how they are read. The one idea: noise is refused at the first byte
and proves little, so a mutation works on the document's own structure (its members, their text, its tokens), and most
inputs stay one or two changes away from an order. A seeded `Random` makes each of them, so a number names an input.
"""

from __future__ import annotations

import json
from random import Random

Members = list[tuple[str, str]]
"""A document as (key as it stands between quotes, value's JSON text), in order; keys may repeat."""


def _good(asset: str, direction: str, trigger: str, stop: str, target: str, **more: str) -> dict[str, str]:
    return {
        "intent_id": "",
        "asset": f'"{asset}"',
        "direction": f'"{direction}"',
        "trigger_price": trigger,
        "take_profit": target,
        "stop_loss": stop,
        "confidence": "0.8",
        "strategy_ref": '"fuzz"',
        "timestamp": '"2026-01-05T15:00:00Z"',
        "ttl_seconds": "15",
    } | more


SEEDS = (
    _good("AAPL", "LONG", "150", "148", "155"),
    _good(
        "AAPL", "LONG", "150.00", "148.005", "155.129", qty="7", thesis='"a pullback, \\u00e9 and \\n all"'
    ),
    _good("SPY", "LONG", "6e2", "590.0", "62E1", confidence="1", ttl_seconds="0.5"),
    _good("SPY", "SHORT", "600", "610", "580", max_hold_seconds="3600"),
    _good("SOL/USD", "LONG", "150", "145", "165", context='{"vix": 17.5, "note": "ok", "e": 1e-7}'),
    _good("BTC/USD", "LONG", "100000.5", "97000", "110000", qty="0.01", kind='"intent"', entry='"now"'),
    _good("AAPL", "LONG", "151.5", "148", "158", entry='"touch"', arm_seconds="60"),
)

ONCE_SENT = '"00000000-0000-4000-8000-000000000000"'
"""Whose trade the seeds below would change: the first input's."""

SEEDS += (
    {"intent_id": "", "kind": '"cancel"', "target_id": ONCE_SENT},
    {"intent_id": "", "kind": '"close"', "target_id": ONCE_SENT, "qty": "7.5", "thesis": '"late"'},
    {
        "intent_id": "",
        "kind": '"amend"',
        "target_id": ONCE_SENT,
        "stop_loss": "149",
        "max_hold_seconds": "60",
    },
    {
        "intent_id": "",
        "kind": '"amend"',
        "target_id": ONCE_SENT,
        "take_profit": "156",
        "timestamp": '"2026-01-05T15:00:00Z"',
    },
)

NUMBERS = (
    "0", "-0", "-0.0", "-1", "1e400", "1e-400", "1e30", "1e31", "1E+2", "15e1", "1e-9", "1e-10", "0.0000000001", "150." + "0" * 27,
    "150." + "0" * 28, "9" * 30, "9" * 31, "1" * 5000, "999999999.999999999", "1000000000", "1000000000.000000001", "0.1e1",
    "015", "+15", ".5", "5.", "0x10", "1_000", "1,5", "NaN", "Infinity", "-Infinity", "1e", "1e+", "150e0", "1.50e2", "0e999",
    "\uff11\uff15\uff10", "\u0661\u0665\u0660", "\u2212150", "1\u00a0000", "148", "150", "155", "0.6", "0.599999999", "1.000000001",
    "2.0", "15000", "0.000000001", "123456789012345678", "1234567890.12345678",
)  # fmt: skip
STRINGS = (
    '""', '"AAPL"', '"SPY"', '"SOL/USD"', '"TSLA"', '"LONG"', '"SHORT"', '"long"', '"touch"', '"now"', '"intent"', '"cancel"', '"close"', '"amend"', '"150"',
    '"\\ud800"', '"\\udc00x"', '"\\ud83d\\ude00"', '"\\u0000"', '"A\u0410PL"', '"\u0391APL"', '"\uff21APL"', '"AA\u200bPL"', '"AAPL "',
    '"AAPL\\n"', '"\\u0041APL"', '"\u202eLPAA"', '"../../x"', '"a\\u001b[2Jb"', '"' + "x" * 128 + '"', '"' + "x" * 129 + '"',
    '"' + "x" * 4097 + '"', '"2026-01-05T15:00:00Z"', '"2026-01-05T10:00:00-05:00"', '"2026-01-05T15:00:00"', '"2026-02-30T15:00:00Z"',
    '"9999-12-31T23:59:59.999999999-23:59"', '"0001-01-01T00:00:00+23:59"', '"2026-01-05T15:00:60Z"', '"2026-01-05T14:59:50.5Z"',
    '"2026-01-05T15:00:01Z"', '"2026-01-05T15:00:00+24:00"', '"00000000-0000-4000-8000-000000000001"', '"\\u005c"', '"\\x"', '"\t"',
)  # fmt: skip
OTHERS = ("null", "true", "false", "{}", "[]", "[150]", '{"a": {"b": 1}}', '{"a": 1, "a": 2}', '{"a": null}', '{"a": NaN}', '{"\\ud800": 1}',
          "[" * 9 + "]" * 9, '{"v":' * 50 + "1" + "}" * 50, "", "nul", "undefined", "{", "[", '"')  # fmt: skip
KEYS = ("confirm", "leverage", "__proto__", "Asset", "\\u0061sset", "stop_l\u043ess", "", "asset ", "kind", "target_id", "signature", "approval_id", "qty",
        "arm_seconds", "entry", "context", "thesis", "trailing_stop_pct", "max_hold_seconds")  # fmt: skip
TOKENS = (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\0", b"\x1b[31m", b"\n", b" ", b"\t", b"\r\n", b"\xc2\xa0", b'"', b"\\", b",",
          b",,", b":", b"{", b"}", b"[", b"]", b"[" * 2000, b'{"a":' * 400, b"-", b".", b"e", b"E9", b"NaN", b"null", b"//", b"/*", b"'", b"0", b"9")  # fmt: skip


def make(number: int, random: Random) -> bytes:
    """Return input `number`: a seed under an id of its own, changed in up to four ways."""
    members = list(random.choice(SEEDS).items())
    members[0] = ("intent_id", f'"{number:08x}-0000-4000-8000-000000000000"')
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3))):
        if members:
            random.choice(_ON_MEMBERS)(members, random)
    data = bytearray(_text(members, random))
    for _ in range(random.choice((0, 0, 0, 0, 0, 1, 1, 2))):
        random.choice(_ON_BYTES)(data, random)
    return bytes(data)


def _text(members: Members, random: Random) -> bytes:
    space = random.choice(("", " ", " ", "\n\t"))
    inside = ",".join(f'{space}"{key}"{space}:{space}{value}{space}' for key, value in members)
    return ("{" + inside + "}").encode("utf-8", "surrogatepass")


# --- on members ------------------------------------------------------------------------------------------------


def _another_value(members: Members, random: Random) -> None:
    place = random.randrange(len(members))
    pool = random.choice((NUMBERS, NUMBERS, STRINGS, STRINGS, OTHERS))
    members[place] = members[place][0], random.choice(pool)


def _another_number(members: Members, random: Random) -> None:
    """Change a number's text as a slip would: a digit, the point, a sign, an exponent."""
    places = [n for n, (_, value) in enumerate(members) if value[:1].isdigit()]
    if places:
        place = random.choice(places)
        key, value = members[place]
        at = random.randrange(len(value) + 1)
        slip = random.choice("0123456789.-e+E ") if random.random() < 0.8 else random.choice(NUMBERS)
        members[place] = key, value[:at] + slip + value[at + random.randrange(2) :]


def _another_text(members: Members, random: Random) -> None:
    """Put a character into a string, or take one out."""
    places = [n for n, (_, value) in enumerate(members) if value[:1] == '"']
    if places:
        place = random.choice(places)
        key, value = members[place]
        at = random.randrange(1, max(2, len(value)))
        odd = random.choice(
            ("", "A", "\u0410", "\u200b", "\\u0000", "\\ud800", "\\n", "\n", "/", ".", "0", "é", "\U0001f600")
        )
        members[place] = key, value[:at] + odd + value[at + random.randrange(2) :]


def _without(members: Members, random: Random) -> None:
    del members[random.randrange(len(members))]


def _twice(members: Members, random: Random) -> None:
    members.insert(random.randrange(len(members) + 1), random.choice(members))


def _swapped(members: Members, random: Random) -> None:
    a, b = random.randrange(len(members)), random.randrange(len(members))
    members[a], members[b] = (members[a][0], members[b][1]), (members[b][0], members[a][1])


def _another_key(members: Members, random: Random) -> None:
    place = random.randrange(len(members))
    members[place] = random.choice(KEYS), members[place][1]


def _one_more(members: Members, random: Random) -> None:
    value = random.choice(random.choice((NUMBERS, STRINGS, OTHERS)))
    members.insert(random.randrange(len(members) + 1), (random.choice(KEYS), value))


def _shuffled(members: Members, random: Random) -> None:
    random.shuffle(members)


_ON_MEMBERS = (
    _another_value, _another_value, _another_number, _another_number, _another_text, _without, _twice, _swapped, _another_key,
    _one_more, _shuffled,
)  # fmt: skip


# --- on bytes --------------------------------------------------------------------------------------------------


def _flip(data: bytearray, random: Random) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _insert(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = random.choice(TOKENS)


def _cut(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data) + 1)
    del data[at : at + random.randrange(1, 20)]


def _truncate(data: bytearray, random: Random) -> None:
    del data[random.randrange(len(data) + 1) :]


def _repeat(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = data[at : at + random.randrange(1, 60)]


def _splice(data: bytearray, random: Random) -> None:
    other = json.dumps(random.choice(SEEDS)).encode()
    data[random.randrange(len(data) + 1) :] = other[random.randrange(len(other)) :]


def _pad(data: bytearray, random: Random) -> None:
    data += random.choice((b" ", b"\n", b"\0", b"x")) * random.choice((1, 2, 65_000, 65_536))


_ON_BYTES = (_flip, _flip, _insert, _insert, _cut, _truncate, _repeat, _splice, _pad)
