"""`python -m hands`: the same as the `hands` command."""

from __future__ import annotations

from hands.cli.main import main

if __name__ == "__main__":
    main()
