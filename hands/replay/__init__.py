"""Replay: recorded or made-up markets through the same `decide`, and what any session came to.

Owns replays and reports. May not be imported by the daemon.
"""
