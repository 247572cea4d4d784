"""The outside venues, each in its own package: bytes in, core events out; core commands in, bytes out.

A venue imports the core and nothing else of ours. What it says is translated, never judged: judging is the
core's.
"""
