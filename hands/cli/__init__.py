"""The `hands` command: one module per family of commands.

Owns parsing of arguments, printing and exit codes. May not decide anything about trading: it asks the daemon
over the control socket, drops files, or reads the ledger. The one idea: whatever is slow to import is imported
inside the command that needs it, so that `hands --help` answers at once.
"""
