"""The simulator with switches that its command line does not have: `python exchange.py '{"tape": ["manual"], …}'`.

Owns nothing but the start; the argument is a JSON object of `SimConfig` fields.
"""

from __future__ import annotations

import json
import sys

import uvloop

from hands.sim.app import SimConfig, serve


def main() -> None:
    fields = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in json.loads(sys.argv[1]).items()
    }
    uvloop.run(serve(SimConfig(**fields), lambda url: print(json.dumps({"url": url}), flush=True)))


if __name__ == "__main__":
    main()
