"""Where tests write."""

import os
import tempfile
from pathlib import Path


def test_what_a_test_writes_lies_with_all_that_is_temporary(tmp_path: Path) -> None:
    """What conftest chooses, memory where there is enough of it, counts for pytest's own folders as well."""
    assert Path(os.environ.get("TMPDIR") or tempfile.gettempdir()).resolve() in tmp_path.parents
