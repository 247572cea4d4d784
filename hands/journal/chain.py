"""The chain of seals: what makes a record that was changed afterwards show.

Owns the sealing of one sequence of records under a key that is thrown away as time goes. May not know what it seals,
and touches no file. The one idea (forward-secure logging, Bellare and Yee 1997): each seal is a keyed hash over the
record and the seal before it, and the key is replaced by its own hash once a second. Whoever takes the machine over
finds today's key, which seals nothing of the past; whoever kept the first key works out all the others and checks every
record.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

SEAL_BYTES: Final = 16
KEY_BYTES: Final = 32
NO_SEAL: Final = bytes(SEAL_BYTES)
"""Stands before the first record."""

EPOCHS_MAX: Final = 1 << 22
"""More epochs than there are between two records of one chain, or between one and the key that is stored: seven weeks of
seconds, and some seconds of work. A number beyond it is none of ours."""


def chain_key(first: bytes, chain: bytes) -> bytes:
    """Return the first key of one of the chains ("steps", "rows") that hang on the directory's first key."""
    return blake2b(first, digest_size=KEY_BYTES, person=b"hands." + chain).digest()


def ratcheted(key: bytes) -> bytes:
    """Return the key that follows; nobody can go back."""
    return blake2b(key, digest_size=KEY_BYTES, person=b"hands.ratchet").digest()


class Chain:
    """Seals records one after the other. `epoch` counts how often the key was replaced since the first."""

    def __init__(self, key: bytes, epoch: int = 0, head: bytes = NO_SEAL) -> None:
        self.epoch = epoch
        self.head = head
        self._key = key
        self._is_used = False

    @property
    def key(self) -> bytes:
        """The key of now, to be kept for the next start."""
        return self._key

    def seal(self, body: bytes) -> bytes:
        """Return the seal of the next record, `SEAL_BYTES` long (about 1 µs)."""
        mac = blake2b(self.head, digest_size=SEAL_BYTES, key=self._key)
        mac.update(body)
        self.head = mac.digest()
        self._is_used = True
        return self.head

    def ratchet(self) -> bool:
        """Replace the key if it has sealed something; whether it did."""
        if not self._is_used:
            return False
        self.advance(self.epoch + 1)
        return True

    def advance(self, epoch: int) -> None:
        """Go on to the key of a later epoch. Raises ValueError: that one is gone."""
        if epoch < self.epoch:
            raise ValueError(f"the key of epoch {epoch} was erased; this is epoch {self.epoch}")
        while self.epoch < epoch:
            self._key = ratcheted(self._key)
            self.epoch += 1
        self._is_used = False

    def reaches(self, epoch: int) -> bool:
        """Whether an epoch can be one of this chain's, from here on."""
        return 0 <= epoch - self.epoch <= EPOCHS_MAX
