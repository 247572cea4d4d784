"""Percentiles of a few thousand latencies, exactly: the samples are sorted, nothing is binned or interpolated.

The one idea: p is the smallest sample that at least p of all samples do not exceed (nearest rank), so every number
shown was really measured. With n = 1 000, p99.9 is the second largest; with fewer it is the largest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

QUANTILES = {"p50_us": 0.50, "p99_us": 0.99, "p999_us": 0.999, "max_us": 1.0}


def nearest_rank(ordered: Sequence[int], quantile: float) -> int:
    """Return the sample at `quantile` (0 < quantile <= 1) of ascending samples. Raises ValueError without any."""
    if not ordered:
        raise ValueError("no samples")
    return ordered[max(0, math.ceil(quantile * len(ordered)) - 1)]


def summary(latencies_ns: Sequence[int]) -> dict[str, float]:
    """Return p50, p99, p99.9 and the maximum of nanoseconds, in microseconds to one decimal, and their number."""
    ordered = sorted(latencies_ns)
    found = {name: round(nearest_rank(ordered, quantile) / 1_000, 1) for name, quantile in QUANTILES.items()}
    return {"n": len(ordered), **found}
