"""Claims: which documents were taken in and are not yet filed, and how many of them may wait.

Owns the answer to "has this very file been taken in?", and the bound on what is kept in memory for an agent. May not
touch a file. The one idea: a claim is a file's identity and its bytes together; a name alone says nothing, since
its writer may put another document under it at any moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hands.intake.drops import Drop
from hands.intake.reading import Identity, Reading

HELD_MAX = 20_000
"""Documents of one agent that may wait to be judged or filed; what is dropped beyond stays in its folder meanwhile."""

HELD_BYTES_MAX = 32 * 1024 * 1024
"""The same in bytes of documents."""


class Claim(NamedTuple):
    """A document that was taken in and not yet filed; `raw_name` is its true file name in `drop`."""

    drop: Drop
    raw_name: str
    reading: Reading


class Claims:
    """All claims, by agent and shown name; those of one name in the order in which they were taken in."""

    def __init__(self) -> None:
        self._by_name: dict[tuple[str, str], dict[Reading, Claim]] = {}
        self._count: dict[str, int] = {}
        self._bytes: dict[str, int] = {}

    def add(self, agent: str, name: str, claim: Claim) -> bool:
        """Claim a document; False if this very file is claimed already."""
        claims = self._by_name.setdefault((agent, name), {})
        if claim.reading in claims:
            return False
        claims[claim.reading] = claim
        self._count[agent] = self._count.get(agent, 0) + 1
        self._bytes[agent] = self._bytes.get(agent, 0) + len(claim.reading.data)
        return True

    def find(self, agent: str, name: str, data: bytes) -> Claim | None:
        """Return the oldest claim of that name with those bytes."""
        return next((c for c in self._of(agent, name) if c.reading.data == data), None)

    def holds(self, agent: str, name: str, identity: Identity) -> bool:
        """Whether a file under that name is claimed in just this version, as far as can be told without reading it."""
        return any(claim.reading.identity == identity for claim in self._of(agent, name))

    def others(self, agent: str, name: str, claim: Claim | None) -> list[bytes]:
        """Return the bytes of the other claims of that name."""
        return [
            other.reading.data for other in self._of(agent, name) if other is not claim and other.reading.data
        ]

    def release(self, agent: str, name: str, claim: Claim) -> None:
        """It is filed."""
        claims = self._by_name[agent, name]
        del claims[claim.reading]
        if not claims:
            del self._by_name[agent, name]
        self._count[agent] -= 1
        self._bytes[agent] -= len(claim.reading.data)
        if not self._count[agent]:
            del self._count[agent], self._bytes[agent]

    def is_full(self, agent: str) -> bool:
        """Whether so much of an agent waits that nothing more of it may be taken in."""
        return self._count.get(agent, 0) >= HELD_MAX or self._bytes.get(agent, 0) >= HELD_BYTES_MAX

    def has_room(self, agent: str) -> bool:
        """Whether half of that has gone again: reading on at the first gap would mean looking for each single file."""
        return self._count.get(agent, 0) <= HELD_MAX // 2 and self._bytes.get(agent, 0) <= HELD_BYTES_MAX // 2

    def _of(self, agent: str, name: str) -> Iterator[Claim]:
        yield from self._by_name.get((agent, name), {}).values()
