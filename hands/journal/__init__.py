"""What is remembered: the write-ahead journal, and the ledger that other programs read.

`store` is written by the engine's own thread before an order's first byte leaves; `ledger` follows behind it in
a thread of its own and fills the views of `hands.db`; `reader` only reads. Knows the core's words, not venues.
"""
