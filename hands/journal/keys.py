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

from hands.journal.chain import EPOCHS_MAX, KEY_BYTES, NO_SEAL, Chain, chain_key

log = logging.getLogger("hands")

FIRST_NAME: Final = "first.key"
CHAINS: Final = ("steps", "rows")

_EPOCHS: Final = 1 << 40
"""There are fewer."""


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
    """The keys of one state directory, for its one writer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stored: dict[str, int] = {}

    def open(self, chain: str, epoch: int, head: bytes) -> Chain:
        """Return a chain that goes on after a record sealed in `epoch` with `head` (NO_SEAL: there is none).

        Where the key of that time is not to be had any more, the chain begins anew, or goes on with the key there is:
        verification says so. Nothing that lies there, whatever it is, keeps a start from what it has to look after.
        """
        found = self._load(chain) or self._from_first(chain, epoch)
        if found is not None:
            stored_epoch, key = found
            reached = Chain(key, stored_epoch, head)
            if reached.reaches(epoch):
                reached.advance(epoch)
            elif epoch > stored_epoch:
                log.critical("the record names epoch %d of the %s, which never was", epoch, chain)
            return reached
        if head != NO_SEAL:
            log.warning("%s: the key of this chain is gone; it begins anew", key_path(self._folder, chain))
        return Chain(self._make(chain), 0, head)

    def store(self, chain: str, epoch: int, key: bytes) -> bool:
        """Keep the key of now in place of the one before; False where the disk refuses, and then it is to be tried again."""
        if self._stored.get(chain) == epoch:
            return True
        if not _write(key_path(self._folder, chain), f"{epoch} {key.hex()}\n"):
            return False
        self._stored[chain] = epoch
        return True

    def _load(self, chain: str) -> tuple[int, bytes] | None:
        path = key_path(self._folder, chain)
        try:
            number, text = path.read_text("ascii").split()
            epoch, key = int(number), bytes.fromhex(text)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.critical("%s: not readable: %s", path, error)
            return None
        if not 0 <= epoch < _EPOCHS or len(key) != KEY_BYTES:
            log.critical("%s: epoch %s and %d bytes are no key", path, number[:20], len(key))
            return None
        self._stored[chain] = epoch
        return epoch, key

    def _from_first(self, chain: str, epoch: int) -> tuple[int, bytes] | None:
        """Return the first key of a chain where it can still be made: a first start that was cut short has left it so."""
        try:
            first = first_key(self._folder)
        except (OSError, ValueError) as error:
            log.critical("%s: not readable: %s", self._folder / FIRST_NAME, error)
            return None
        return None if first is None or epoch > EPOCHS_MAX else (0, chain_key(first, chain.encode()))

    def _make(self, chain: str) -> bytes:
        """Make a first key and store those that follow from it where there are none; return this chain's.

        The first key before it, if it was never taken away, stays under another name: what it has sealed needs it.
        """
        first = secrets.token_bytes(KEY_BYTES)
        path = self._folder / FIRST_NAME
        with contextlib.suppress(OSError):
            if os.path.lexists(path):
                path.rename(path.with_name(f"{FIRST_NAME}.{secrets.token_hex(4)}"))
        _write(path, f"{first.hex()}\n")
        for name in CHAINS:
            if name == chain or not os.path.lexists(key_path(self._folder, name)):
                self.store(name, 0, chain_key(first, name.encode()))
        return chain_key(first, chain.encode())


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
