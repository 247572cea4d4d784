"""Which orders the venue takes: every rule of submission and replacement, in the order they are looked at.

Owns the rules and their refusals; changes nothing. Every check raises `VenueError` or says nothing. The order is

1. `parameters`: the fields are complete and agree with each other (422, 40010001);
2. `instruments`: the asset exists and is traded, and takes this class, type, time in force, quantity and price
   (422, 42210000); then where the market stands to the order's prices, and what the position makes of it;
3. `account`: the account may trade, short, and not with itself, and has the shares and the money (403, 40310000).

Only "fractional must be DAY" before "fractional must be simple" was observed; the rest of the order is this
exchange's choice: what a client can get wrong alone comes before what depends on the market, and that before what
depends on the account. `replacement` does the same for a change to a live order.
"""

from hands.sim.venue.admission.account import check_account
from hands.sim.venue.admission.instruments import check_instrument, check_market, find_asset
from hands.sim.venue.admission.parameters import CLIENT_ORDER_ID_MAX, check_client_order_id, check_parameters
from hands.sim.venue.admission.replacement import check_replace, check_replacement
from hands.sim.venue.admission.standing import (
    CRYPTO_COST_MIN,
    Standing,
    infer_intent,
    requested_qty,
    valuations,
)

__all__ = [
    "CLIENT_ORDER_ID_MAX",
    "CRYPTO_COST_MIN",
    "Standing",
    "check_account",
    "check_client_order_id",
    "check_instrument",
    "check_market",
    "check_parameters",
    "check_replace",
    "check_replacement",
    "find_asset",
    "infer_intent",
    "requested_qty",
    "valuations",
]
