"""A limits file brought up to this version: the keys it lacks are added, and nothing else of its text changes.

Owns where a missing key goes and the words beside it. May not touch a file: it turns text into text. The one idea: the
result is read back, and is used only where it says exactly what the old text said and the added keys besides.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any, NamedTuple

from hands.core.limit_keys import LIMIT_KEYS, SESSION_KEYS


class Line(NamedTuple):
    """One key to add, as TOML has it."""

    name: str
    value: str
    meaning: str

    @property
    def text(self) -> str:
        return f"{f'{self.name} = {self.value}':<32} # {self.meaning}"


SHIPPED: dict[str, tuple[Line, ...]] = {
    "hard_limits": tuple(Line(key.name, key.shipped, key.meaning) for key in LIMIT_KEYS),
    "symbols": (
        Line("allow", "[]", "nothing is traded but what stands here; empty means nothing at all"),
        Line("allow_short", "false", "equities only; crypto is never shorted"),
    ),
    "session": tuple(Line(key.name, key.shipped, key.meaning) for key in SESSION_KEYS),
    "day": (Line("roll", '"17:00 America/New_York"', "when counters and the loss baseline start again"),),
}
"""Every key that must be there, by its table. An allow-list that is missing is added empty: nobody has allowed anything."""


class CannotAdd(ValueError):  # noqa: N818  (says what is the case)
    """The text is no TOML, or written so that a line cannot be added safely; the message says what to do."""


def with_missing(text: str) -> tuple[str, list[tuple[str, Line]]]:
    """Return the text with every missing key in its table, and what was added as (table, line).

    Raises:
        CannotAdd: it is not readable, or a table is written in a way that lines cannot be added to.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise CannotAdd(f"not readable: {error}") from error
    added: list[tuple[str, Line]] = []
    for table, lines in SHIPPED.items():
        found = document.get(table)
        if found is not None and not isinstance(found, dict):
            raise CannotAdd(f"{table} is no table; write [{table}] and its keys below")
        missing = [line for line in lines if line.name not in (found or {})]
        if missing:
            text = _added(text, table, missing, is_new=found is None)
            added.extend((table, line) for line in missing)
    return text, added


def _added(text: str, table: str, lines: list[Line], *, is_new: bool) -> str:
    """Return the text with the lines in the table, the first way of adding them that proves right."""
    before = tomllib.loads(text)
    values = tomllib.loads("\n".join(line.text for line in lines))
    wanted = before | {table: before.get(table, {}) | values}
    end = "\r\n" if "\r\n" in text else "\n"
    body = "".join(line.text + end for line in lines)
    for candidate in _candidates(text, table, body, end, is_new=is_new):
        if _says(candidate, wanted):
            return candidate
    pasted = "; ".join(line.text for line in lines)
    raise CannotAdd(f"no line can be added to [{table}] as it is written; paste: {pasted}")


def _says(text: str, wanted: dict[str, Any]) -> bool:
    """Whether the text is TOML and says just that; a number that is none differs even from itself, and is left alone."""
    try:
        return repr(_sorted(tomllib.loads(text))) == repr(_sorted(wanted))
    except ValueError:
        return False


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return [(name, _sorted(value[name])) for name in sorted(value)]
    return value


def _candidates(text: str, table: str, body: str, end: str, *, is_new: bool) -> Iterator[str]:
    if is_new:
        yield text + (end if text and not text.endswith("\n") else "") + f"{end}[{table}]{end}{body}"
        return
    header = re.search(rf"(?m)^[ \t]*\[[ \t]*{table}[ \t]*\][^\n]*(\n|\Z)", text)
    if header is None:
        return
    for at in (_end_of_table(text, header.end()), header.end()):
        gap = end if at and text[at - 1] != "\n" else ""
        yield text[:at] + gap + body + text[at:]


def _end_of_table(text: str, start: int) -> int:
    """Return the place behind the last line of a table that is neither blank nor a comment."""
    at = last = start
    for line in text[start:].splitlines(keepends=True):
        if re.match(r"[ \t]*\[", line):
            break
        at += len(line)
        if not re.match(r"[ \t]*(#|\r?\n?\Z)", line):
            last = at
    return last
