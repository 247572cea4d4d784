"""The sweep: a look into every drop folder for documents that no event told of.

Owns what a folder's listing says of a file: new, still being written, or not ours to look at. May not read a document.
The one idea: it goes on a few names at a time, so that a folder stuffed with anything holds nothing up and hides nothing.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Generator, Iterable

from hands.intake.drops import Drop
from hands.intake.reading import Identity, is_candidate

FOUND_MAX = 10_000
"""Documents of one folder that a sweep brings home; the rest is for the next one, which comes at once."""

_Seen = dict[tuple[tuple[int, int], str], tuple[Identity, int]]


class Sweep:
    """One look into `drops`, for what is not claimed already. `quiet_ns`: a file counts as finished when nothing was written to it for this long.

    Where a file's time lies in the future (another machine's clock, on a network mount) that cannot be told from its
    time: it counts when a sweep finds it as another one did that long before, which is `former`.
    """

    def __init__(
        self,
        drops: Iterable[Drop],
        is_claimed: Callable[[Drop, str, Identity], bool],
        quiet_ns: int,
        former: Sweep | None,
    ) -> None:
        self.found: list[tuple[int, str, Drop]] = []
        self.has_young = False
        self.has_more = False
        self._is_claimed = is_claimed
        self._quiet_ns = quiet_ns
        self._seen_before: _Seen = {} if former is None else former.seen
        self.seen: _Seen = {}
        self._entries = self._walk(list(drops))

    def look(self, most: int) -> bool:
        """Look at so many names more; return whether that was the last."""
        return any(next(self._entries, None) is None for _ in range(most))

    def close(self) -> None:
        self._entries.close()

    def _walk(self, drops: list[Drop]) -> Generator[bool, None, None]:
        for drop in drops:
            if drop.fd < 0:
                continue
            before = len(self.found)
            with os.scandir(drop.fd) as entries:
                for entry in entries:
                    if is_candidate(entry.name):
                        self._consider(drop, entry.name)
                    yield True
                    if drop.fd < 0:
                        break
                    if len(self.found) - before >= FOUND_MAX:
                        self.has_more = True
                        break

    def _consider(self, drop: Drop, name: str) -> None:
        try:
            found = os.stat(name, dir_fd=drop.fd, follow_symlinks=False)
        except FileNotFoundError:
            return
        identity = Identity(found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
        if stat.S_ISREG(found.st_mode) and self._is_young(drop, name, identity):
            self.has_young = True
        elif not self._is_claimed(drop, name, identity):
            self.found.append((found.st_mtime_ns, name, drop))

    def _is_young(self, drop: Drop, name: str, identity: Identity) -> bool:
        age_ns = time.time_ns() - identity.mtime_ns
        if age_ns >= 0:
            return age_ns < self._quiet_ns
        now_ns = time.monotonic_ns()
        former, since_ns = self._seen_before.get((drop.key, name), (identity, now_ns))
        if former != identity:
            since_ns = now_ns
        self.seen[drop.key, name] = identity, since_ns
        return now_ns - since_ns < self._quiet_ns
