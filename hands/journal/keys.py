"""The keys of the chains, as they lie in the state directory.

Owns three small files (0600): `first.key`, from which all others follow, until the operator takes it away; `steps.key` and
`rows.key`, each the key of one chain as it is now. May not seal anything (`hands.journal.chain`). The one idea: what was
thrown away cannot be stolen, so a stored key may be older than the one in use (it is made into that one), never younger.

A directory that cannot be written keeps its keys in memory: what is owned is looked after on a full disk too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from pathlib import Path
from typing import Final

from hands.journal.chain import KEY_BYTES, NO_SEAL, Chain, chain_key

log = logging.getLogger("hands")

FIRST_NAME: Final = "first.key"
CHAINS: Final = ("steps", "rows")


def key_path(folder: Path, chain: str) -> Path:
    """Return where the key of a chain lies."""
    return folder / f"{chain}.key"


def first_key(folder: Path) -> bytes | None:
    """Return the first key while it still lies in the state directory. Raises OSError, ValueError: it is none."""
    try:
        return read_first_key(folder / FIRST_NAME)
    except FileNotFoundError:
        return None


def read_first_key(path: Path) -> bytes:
    """Return a first key kept in a file. Raises OSError, ValueError: it is none."""
    key = bytes.fromhex(path.read_text("ascii").strip())
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path}: a first key has {KEY_BYTES} bytes, this one {len(key)}")
    return key


class Keys:
    """The keys of one state directory, for its one writer. `is_new`: the chains begin with this process."""

    def __init__(self, folder: Path) -> None:
        self.is_new = False
        self._folder = folder
        self._made: dict[str, tuple[int, bytes]] = {}
        self._stored: dict[str, int] = {}

    def open(self, chain: str, epoch: int, head: bytes) -> Chain:
        """Return a chain that goes on after a record sealed in `epoch` with `head` (NO_SEAL: there is none).

        Where the key of that time is not to be had any more, the chain begins anew: verification says so.
        """
        found = self._load(chain)
        if found is not None:
            stored_epoch, key = found
            self._stored[chain] = stored_epoch
            reached = Chain(key, stored_epoch, head)
            reached.advance(max(epoch, stored_epoch))
            return reached
        if head != NO_SEAL:
            log.warning("%s: the key of this chain is gone; it begins anew", key_path(self._folder, chain))
        _, key = self._made.pop(chain, (0, b"")) if chain in self._made else self._make(chain)
        self.is_new = True
        return Chain(key)

    def store(self, chain: str, epoch: int, key: bytes) -> bool:
        """Keep the key of now in place of the one before; False where the disk refuses, and then it is to be tried again."""
        if self._stored.get(chain) == epoch:
            return True
        if not _write(key_path(self._folder, chain), f"{epoch} {key.hex()}\n"):
            return False
        self._stored[chain] = epoch
        return True

    def _load(self, chain: str) -> tuple[int, bytes] | None:
        try:
            epoch, key = key_path(self._folder, chain).read_text("ascii").split()
            return int(epoch), bytes.fromhex(key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.critical("%s: not readable: %s", key_path(self._folder, chain), error)
            return None

    def _make(self, chain: str) -> tuple[int, bytes]:
        """Make the first key and those of all chains that follow from it; return this chain's."""
        first = secrets.token_bytes(KEY_BYTES)
        _write(self._folder / FIRST_NAME, f"{first.hex()}\n")
        for name in CHAINS:
            self._made[name] = (0, chain_key(first, name.encode()))
            key_path(self._folder, name).unlink(missing_ok=True)
            self.store(name, *self._made[name])
        return self._made.pop(chain)


def _write(path: Path, text: str) -> bool:
    """Replace a file that only we may read; whether it could be done."""
    new = path.with_name(f"{path.name}.new")
    try:
        with open(new, "w", encoding="ascii", opener=_private) as file:
            file.write(text)
        new.replace(path)
    except OSError as error:
        log.warning("%s: not written: %s", path, error.strerror)
        with contextlib.suppress(OSError):
            new.unlink()
        return False
    return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
