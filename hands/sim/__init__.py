"""An Alpaca-compatible exchange on one loopback port: the other side of the socket.

Three rooms, importing downwards only: `server` (REST, streams, faults, controls, the process), `market` (tapes
and what they are encoded to), `venue` (the exchange itself: rules, orders, matching, account; synchronous and
without I/O). Beside them `testing` and `pytest_plugin` start one for a test suite. It shares only
`hands.core.units` and `hands.core.vocab` with the engine and owns its rules, so that the two can be checked
against each other.
"""
