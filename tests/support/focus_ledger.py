"""A ledger with a bit of everything, and a configuration for it, in the folder that is named: for `make focus`."""

from __future__ import annotations

import sys
from pathlib import Path

from proxy.ledger.database import open_ledger
from tests.support.machines import simulate
from tests.support.made_up import fill, made_up

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    url = f"sqlite:///{folder}/ledger.db"
    engine = open_ledger(url)
    simulate(engine, 150, minutes=500)
    fill(engine, made_up(3000))
    engine.dispose()
    (folder / "taximeter.yaml").write_text(f"ledger: {url}\n")
