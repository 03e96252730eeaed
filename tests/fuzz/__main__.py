"""The long run: ``make fuzz``. FUZZ says how many mutations (a million), SEED which ones, AT a single one again."""

import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from multiprocessing import Pool
from pathlib import Path
from random import Random

from tests.fuzz.judge import judge
from tests.fuzz.mutate import Mutator, pages, seeds
from tests.fuzz.watching import foreign_shapes

CHUNK = 500
SHOWN = 20
"""Failures that are told of at length; all are counted and written down."""
_MESSAGES, _DOCUMENTS, _FOREIGN = seeds(), pages(), foreign_shapes()


def mutation(seed: str, number: int) -> tuple[bytes, dict[str, bool], list[str]]:
    """Return the message that a seed and a number name, how it is judged, and what was done to it."""
    random = Random(f"{seed}:{number}")
    watching = random.random() < 0.3
    mutator = Mutator(random, _MESSAGES, _DOCUMENTS, _FOREIGN if watching else ())
    raw = mutator.make()
    ways = {"eight_bit": random.random() < 0.8, "plain_text_links": random.random() < 0.3, "watching": watching}
    return raw, ways, mutator.trail


def run(task: tuple[str, int, int, Path]) -> tuple[Counter[str], list[str]]:
    """Judge some mutations; return what became of them, and the failures."""
    seed, start, end, folder = task
    outcomes: Counter[str] = Counter()
    failures = []
    for number in range(start, end):
        raw, ways, trail = mutation(seed, number)
        try:
            outcomes[judge(raw, **ways)] += 1
        except Exception as error:  # noqa: BLE001  # whatever it is, it is what we are looking for
            outcomes["FAILED"] += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            name = f"{seed}-{number}"
            (folder / f"{name}.eml").write_bytes(raw)
            said = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
            (folder / f"{name}.txt").write_text(f"{said}\n{ways}\n{trail}\n\n{traceback.format_exc()}", "utf-8")
            failures.append(f"{name}: {said[:200]}")
    return outcomes, failures


def main() -> int:
    """Run as many mutations as asked for on every core; return how the process is to end."""
    again = "AT" in os.environ
    count, seed = int(os.environ.get("FUZZ", "1" if again else "1_000_000")), os.environ.get("SEED", "aboveboard")
    folder = Path(tempfile.mkdtemp(prefix="aboveboard-fuzz-"))
    first = int(os.environ.get("AT", "0"))
    tasks = [(seed, at, min(at + CHUNK, first + count), folder) for at in range(first, first + count, CHUNK)]
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    started = time.perf_counter()
    with Pool() as pool:
        for counted, found in pool.imap_unordered(run, tasks):
            outcomes.update(counted)
            failures += found
            for line in found[: max(0, SHOWN - len(failures) + len(found))]:
                print(line, flush=True)
            if sys.stdout.isatty():
                print(f"\r{outcomes.total():,} of {count:,}", end="", flush=True)
    seconds = time.perf_counter() - started
    total = outcomes.total()
    print(f"\n{total:,} mutations of seed {seed!r} in {seconds:.0f} s, {total / seconds:.0f} a second")
    for what, number in outcomes.most_common():
        print(f"  {what:20} {number:>10,}")
    print(f"Reproductions: {folder}" if failures else "Nothing failed.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
