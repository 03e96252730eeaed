"""The table: one line per scenario, and one per group of them."""

from collections.abc import Iterable

from tests.faults.account import Row

COLUMNS = ("sent", "accepted", "refused", "delivered", "doubled", "unexplained", "lost", "altered", "tries")
_ADDED = (*COLUMNS, "cut")


def grouped(rows: Iterable[Row]) -> list[Row]:
    """Return one row per group: what stands before the colon of a name, and how many rows that were."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.name.partition(":")[0], []).append(row)
    return [_sum(name, several) for name, several in groups.items()]


def _sum(name: str, rows: list[Row]) -> Row:
    total = Row(name if len(rows) == 1 else f"{name} ({len(rows)} ways)")
    for column in _ADDED:
        setattr(total, column, sum(getattr(row, column) for row in rows))
    total.slowest = max(row.slowest for row in rows)
    total.wrong = [f"{row.name}: {what}" for row in rows for what in row.wrong]
    total.skipped = next((row.skipped for row in rows if row.skipped), "")
    return total


def heading() -> str:
    """Return the first two lines of the table, in Markdown."""
    return f"| scenario | {' | '.join(COLUMNS)} | longest wait |\n|---|{'---:|' * (len(COLUMNS) + 1)}"


def line(row: Row) -> str:
    """Return a row of the table, with what is wrong behind it."""
    if row.skipped:
        return f"| {row.name} | skipped: {row.skipped} |"
    cells = " | ".join(str(getattr(row, column)) for column in COLUMNS)
    wrong = "" if row.right else f"  WRONG {'; '.join(row.wrong) or 'it does not add up'}"
    return f"| {row.name} | {cells} | {row.slowest:.1f} s |{wrong}"
