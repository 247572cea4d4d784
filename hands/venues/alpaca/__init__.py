"""Alpaca: a codec without I/O (`encode`, `decode`, `frames`) and thin shells around it.

`order_entry` puts orders on warm connections, `trade_stream` and `market_feed` listen, `snapshots` asks.
Nothing here retries a request, follows a redirect or decides anything about an order.
"""
