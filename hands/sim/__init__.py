"""An Alpaca-compatible exchange on one loopback port: the other side of the socket.

It shares only `hands.core.units` and `hands.core.vocab` with the engine and owns its rules, so that the two
can be checked against each other.
"""
