"""The market: made-up and recorded tapes, bars, and the venue's market-data messages."""
