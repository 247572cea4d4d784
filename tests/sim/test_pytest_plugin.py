"""The fixture, as somebody else's test suite uses it: a project of its own, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

CONFTEST = 'pytest_plugins = ["hands.sim.pytest_plugin"]\n'

SUITE = """
import json

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

SEEN = {}


def buy(sim, qty=1):
    client = TradingClient(sim.key, sim.secret, url_override=sim.url)
    order = MarketOrderRequest(symbol="AAPL", qty=qty, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
    return client.submit_order(order), client


def test_an_unmodified_client_trades(alpaca_sim):
    SEEN["plain"] = alpaca_sim.url
    alpaca_sim.quote("AAPL", 149.98, 150.00)
    _, client = buy(alpaca_sim)
    assert client.get_open_position("AAPL").qty == "1"


def test_every_test_begins_anew(alpaca_sim):
    assert alpaca_sim.url == SEEN["plain"]
    assert alpaca_sim.truth()["orders"] == []
    alpaca_sim.fault("GET /v2/account", "status", status=503)


@pytest.mark.alpaca_sim(cash=100, multiplier=1, quirks={"order_class_text": "simple"})
def test_options_that_a_reset_can_change_need_no_other_process(alpaca_sim):
    assert alpaca_sim.url == SEEN["plain"]
    assert alpaca_sim.faults() == []
    alpaca_sim.quote("AAPL", 149.98, 150.00)
    with pytest.raises(APIError, match="insufficient buying power"):
        buy(alpaca_sim)


def test_and_do_not_outlive_their_test(alpaca_sim):
    truth = alpaca_sim.truth()
    assert (truth["account"]["cash"], truth["quirks"]["order_class_text"]) == ("100000", "empty")


@pytest.mark.alpaca_sim(clock="manual")
class TestByHand:
    def test_time_is_moved(self, alpaca_sim):
        SEEN["manual"] = alpaca_sim.url
        assert alpaca_sim.url != SEEN["plain"]
        assert alpaca_sim.advance(1500) == 1_767_625_201_500_000_000

    @pytest.mark.alpaca_sim(latency={"ack": 100})
    def test_the_markers_add_up(self, alpaca_sim):
        assert alpaca_sim.url == SEEN["manual"]
        alpaca_sim.quote("AAPL", 149.98, 150.00)
        order, client = buy(alpaca_sim)
        assert client.get_order_by_id(order.id).status == "pending_new"
        alpaca_sim.advance(100)
        assert client.get_order_by_id(order.id).status == "filled"
"""

WRONG = """
import pytest


@pytest.mark.alpaca_sim(fills="lucky")
def test_unknown_word(alpaca_sim): ...


@pytest.mark.alpaca_sim(clock="sun")
def test_unknown_start(alpaca_sim): ...


@pytest.mark.alpaca_sim("manual")
def test_without_a_name(alpaca_sim): ...
"""


COMPLAINING = """
import pytest

from hands.sim.testing import Sim


class Complaining:
    said = "long before"

    def fresh(self, options):
        return Sim("http://127.0.0.1:9", said=lambda: self.said)


COMPLAINING = Complaining()


@pytest.fixture(scope="session")
def alpaca_sims():
    return COMPLAINING


def test_that_fails(alpaca_sim):
    COMPLAINING.said += " and now something broke"
    raise AssertionError


def test_that_passes(alpaca_sim):
    COMPLAINING.said += " twice"
"""


DYING = """
import subprocess

STARTED = []


class Noted(subprocess.Popen):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        STARTED.append(self)


subprocess.Popen = Noted


def test_under_which_it_dies(alpaca_sim):
    STARTED[-1].kill()
    STARTED[-1].wait()
    alpaca_sim.truth()


def test_that_comes_after(alpaca_sim):
    assert alpaca_sim.truth()["orders"] == []
"""


def run_project(folder: Path, **suites: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder that holds nothing but a conftest and tests."""
    (folder / "conftest.py").write_text(CONFTEST)
    for name, suite in suites.items():
        (folder / f"test_{name}.py").write_text(suite)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--strict-markers",
        "--color=no",
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_two_lines_give_a_suite_its_exchange(tmp_path: Path) -> None:
    done = run_project(tmp_path, bot=SUITE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of three suites in which something is wrong."""
    folder = tmp_path_factory.mktemp("project")
    done = run_project(folder, wrong=WRONG, complaining=COMPLAINING, dying=DYING)
    assert "2 failed, 2 passed, 3 errors" in done.stdout, done.stdout
    return done.stdout


def test_a_marker_that_makes_no_sense_fails_its_test_and_says_why(report: str) -> None:
    for said in ("fills 'lucky'; allowed: realistic, instant", "clock 'sun'", "options by name only"):
        assert said in report
    assert "Traceback" not in report


def test_what_a_simulator_complained_of_is_in_the_report_of_a_failure(report: str) -> None:
    assert "FAILED test_complaining.py::test_that_fails" in report
    assert " and now something broke" in report
    assert "long before" not in report
    assert "twice" not in report


def test_a_simulator_that_died_is_told_and_replaced(report: str) -> None:
    assert "FAILED test_dying.py::test_under_which_it_dies" in report
    assert "hands sim has ended: exit code -9" in report
