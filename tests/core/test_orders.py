"""Client order ids: one function of intent, leg and attempt, found again and never taken for anybody else's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.orders import client_order_id, is_ours, parse_client_order_id
from hands.core.vocab import Leg
from tests.core.world import intent_id

UUIDS = st.uuids().map(str)


@given(UUIDS, st.sampled_from(Leg), st.integers(1, 10**9))
def test_trap_03_an_id_is_found_again_from_its_text(intent: str, leg: Leg, attempt: int) -> None:
    text = client_order_id(intent, leg, attempt)
    assert parse_client_order_id(text) == (intent, leg, attempt)
    assert client_order_id(intent, leg, attempt) == text
    assert is_ours(text)
    assert len(text) <= 128


@given(*[st.tuples(UUIDS, st.sampled_from(Leg), st.integers(1, 99))] * 2)
def test_trap_03_different_orders_never_share_an_id(a: tuple[str, Leg, int], b: tuple[str, Leg, int]) -> None:
    assert (client_order_id(*a) == client_order_id(*b)) is (a == b)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hands",
        "hands-",
        "hand-" + intent_id(1) + "-entry-1",
        "HANDS-" + intent_id(1) + "-entry-1",
        "xhands-" + intent_id(1) + "-entry-1",
        "hands-" + intent_id(1) + "-entry",
        "hands-" + intent_id(1) + "-entry-",
        "hands-" + intent_id(1) + "-entry-one",
        "hands-" + intent_id(1) + "-entry-1.0",
        "hands-" + intent_id(1) + "-entry--1",
        "hands-" + intent_id(1) + "-entree-1",
        "hands-1234-entry-1",
        "904837e3-3b76-47ec-b432-046db621571b",
    ],
)
def test_what_we_did_not_make_is_not_parsed(text: str) -> None:
    assert parse_client_order_id(text) is None


def test_an_id_that_only_looks_alike_is_nobodys() -> None:
    assert not is_ours("hands")
    assert not is_ours("handsome-1")
    assert not is_ours(" hands-" + intent_id(1))
