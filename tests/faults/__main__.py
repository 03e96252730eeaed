"""``make faults``: every scenario in its long form; prints the table, and fails where something did not hold.

``python -m tests.faults 10000`` hands in so many messages while workers are killed; ``short`` is what the tests do.
"""

import asyncio
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.faults.account import Row
from tests.faults.run import LONG, SHORT, everything, names
from tests.faults.table import grouped, heading, line


def main(words: list[str]) -> int:
    """Run, print, and return the exit code."""
    extent = SHORT if words == ["short"] else replace(LONG, messages=int(words[0])) if words else LONG
    rows: list[Row] = []

    def tell(row: Row) -> None:
        rows.append(row)
        print(line(row), flush=True)

    with tempfile.TemporaryDirectory(prefix="aboveboard-faults-") as folder:
        # Others must be able to pass through it.
        Path(folder).chmod(0o755)
        asyncio.run(everything(Path(folder), extent, tell))
    order = names(extent)
    rows.sort(key=lambda row: order.index(row.name))
    print("", heading(), *map(line, grouped(rows)), sep="\n")
    return 0 if all(row.right for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
