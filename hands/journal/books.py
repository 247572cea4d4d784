"""The books beside the record: once a second an anchor and the keys of now, once an hour what is too old.

Owns these three chores of the recorder. May not write into a segment. The one idea: a line, a key or a removal that fails
is done the next time; none of them holds up the record itself.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from hands.core.units import NS_PER_S
from hands.journal import anchors, retention
from hands.journal.anchors import Anchor, anchors_path
from hands.journal.chain import Chain
from hands.journal.keys import Keys
from hands.journal.retention import Keep
from hands.journal.segments import SegmentWriter, folder_of

log = logging.getLogger("hands")

PRUNE_AFTER_NS: Final = 3_600 * NS_PER_S

Committed = tuple[int, int, bytes]
"""Number, epoch and seal of the newest step that is committed; no seal where none was committed by this process."""


class Books:
    """The books of one state directory. `keep`: how long segments stay, None for ever."""

    def __init__(self, state: Path, keys: Keys, keep: Keep | None) -> None:
        self.steps_key: tuple[int, bytes] | None = None
        self.before = ""
        """The seal of the newest anchor."""
        self._anchors, self._folder = anchors_path(state), folder_of(state)
        self._keys, self._keep = keys, keep
        self._anchored: tuple[int, str, int] | None = None
        self._pruned_ns = -PRUNE_AFTER_NS

    def keep(self, chain: Chain, committed: Committed, file: SegmentWriter | None, now_ns: int) -> None:
        """Do what is due. Raises OSError: the rest of it comes next time."""
        self.anchor(chain, committed, file, now_ns)
        self._keys.store("rows", chain.epoch, chain.key)
        if self.steps_key is not None:
            self._keys.store("steps", *self.steps_key)
        if self._keep is not None and abs(now_ns - self._pruned_ns) >= PRUNE_AFTER_NS:
            self._prune(self._keep, now_ns)

    def anchor(self, chain: Chain, committed: Committed, file: SegmentWriter | None, now_ns: int) -> None:
        """Write an anchor, if there is anything new. Raises OSError."""
        seq, epoch, seal = committed
        name, length, row = ("", 0, 0) if file is None else (file.path.name, file.length, file.next_row)
        now = seq, name, length
        if now == self._anchored or not seal:
            chain.ratchet()
            return
        anchor = Anchor(
            at_ns=now_ns, seq=seq, step_epoch=epoch, step_seal=seal.hex(), segment=name, length=length,
            head=chain.head.hex(), next_row=row, epoch=chain.epoch, before=self.before,
        )  # fmt: skip
        self.before = anchors.append(self._anchors, anchor, chain).seal
        self._anchored = now

    def _prune(self, keep: Keep, now_ns: int) -> None:
        old = retention.too_old(self._folder, keep, now_ns)
        self._pruned_ns = now_ns
        if old:
            retention.remove(old)
            log.info("%d segments removed: %s", len(old), old[-1].why)
