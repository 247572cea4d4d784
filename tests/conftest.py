"""What every test may rely on: no account can be reached, property tests repeat, real data is optional.

Owns the hypothesis profiles, the `data` marker and two fixtures. May not start anything or touch the tree.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"

# `ci` gives the same examples on every machine and in every run; `soak` goes looking. Neither knows a deadline
# nor "too slow": a loaded machine is not a defect.
settings.register_profile(
    "ci", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "soak", max_examples=2_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("soak" if os.environ.get("HANDS_SOAK") else "ci")


def pytest_configure() -> None:
    """Forget the owner's credentials before any test is imported: no test can ever reach a real account."""
    for name in [name for name in os.environ if name.startswith("APCA_")]:
        del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if DATA.is_dir():
        return
    absent = pytest.mark.skip(reason="the recorded market data (../shared/data) is not here")
    for item in items:
        if item.get_closest_marker("data") is not None:
            item.add_marker(absent)


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the tree."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of recorded market data; a test that asks for it also carries the marker `data`."""
    if not DATA.is_dir():
        pytest.skip("the recorded market data (../shared/data) is not here")
    return DATA


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """An empty state directory, private to its user as `hands run` makes it."""
    folder = tmp_path / "var"
    folder.mkdir(mode=0o700)
    return folder
