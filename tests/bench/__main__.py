"""``make bench``: speed beside peers in the same run. Figures are for reading; no test depends on them.

``python -m tests.bench pages messages hostile`` prints the tables that are named, all of them without a name.
"""

import sys

from tests.bench import hits, hostile, messages, pages, relay, rules, vendors

TABLES = {
    "pages": pages.table,
    "messages": messages.table,
    "hostile": hostile.table,
    "rules": rules.table,
    "vendors": vendors.table,
    "relay": relay.table,
    "hits": hits.table,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or TABLES:
        TABLES[name]()
        print()
