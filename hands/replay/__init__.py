"""Markets of the past and what would have been done in them: sources of rows, and the same `decide` over them.

Owns the one name that a library's user needs, `replay`; the rest is in the modules. May not be imported by the daemon:
what is here may need pyarrow and much memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hands.replay.run import replay

__all__ = ["replay"]


def __getattr__(name: str) -> Any:
    """Load `replay` when it is asked for: who only fetches a market needs neither engine nor exchange."""
    if name == "replay":
        from hands.replay.run import replay

        return replay
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
