"""The port: trading REST, both streams, history, controls, faults, and the process that serves them."""
