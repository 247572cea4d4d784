"""The floors of the end-to-end tests, for the tests here that need real processes."""

from tests.e2e.conftest import floor, new_floor, pytest_runtest_makereport, shared_exchange

__all__ = ["floor", "new_floor", "pytest_runtest_makereport", "shared_exchange"]
