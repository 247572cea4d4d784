"""The pure core: intents, limits, checks, sizing, orders, protection and `decide`.

Nothing in this package reads a clock, touches a file or a socket, awaits, logs or draws a random number;
"now" is always the timestamp of the event being decided. A test walks its imports.
"""
