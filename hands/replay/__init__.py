"""Markets of the past and what would have been done in them: sources of rows, and the same `decide` over them.

Owns nothing itself. May not be imported by the daemon: what is here may need pyarrow and much memory.
"""
