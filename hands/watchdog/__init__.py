"""The second process: watches the engine's heartbeat, and protects its positions while it is silent.

It can only cancel and reduce: it makes no order but through `hands.core.reducing`, and may not even name the other kind.
"""
