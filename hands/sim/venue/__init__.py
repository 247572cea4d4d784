"""The exchange: rules, orders, matching and the account. Synchronous, without I/O; clock and chance are injected."""
