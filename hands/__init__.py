"""Hands: the zero-trust, low-latency execution engine between an AI trading agent and a brokerage account."""
