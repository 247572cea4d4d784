"""The simulator with switches that its command line does not have: `python exchange.py '{"tape": ["manual"], …}'`.

Owns nothing but the start; the argument is a JSON object of `SimConfig` fields,
`quirks` as {name: value} and `latency` as {name: milliseconds}.
"""

from __future__ import annotations

import json
import sys

import uvloop

from hands.sim.server.app import SimConfig, serve
from hands.sim.venue.quirks import Latency, Quirks


def main() -> None:
    fields = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in json.loads(sys.argv[1]).items()
    }
    fields["quirks"] = Quirks.of(fields.get("quirks", {}))
    fields["latency"] = Latency.of_ms(**fields.get("latency", {}))
    uvloop.run(serve(SimConfig(**fields), lambda url: print(json.dumps({"url": url}), flush=True)))


if __name__ == "__main__":
    main()
