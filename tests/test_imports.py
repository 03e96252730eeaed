"""The house's one-way streets: imports run aboveboard → proxy, web → ledger → policies, inside functions too."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "policies": set(),
    "ledger": {"policies"},
    "proxy": {"ledger", "policies"},
    "web": {"ledger", "policies"},
    "aboveboard": {"proxy", "web", "ledger", "policies"},
}
# What the pure room must not know: clocks, files, networks, databases.
IMPURE = {
    "asyncio",
    "os",
    "pathlib",
    "socket",
    "time",
    "sqlalchemy",
    "aiosmtpd",
    "aiosmtplib",
    "starlette",
    "structlog",
}
MODULES = [path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Return the top-level names that a module imports anywhere: in functions and under TYPE_CHECKING included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            raise AssertionError(f"{path}: imports by name")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    """A room imports only from the rooms below it."""
    room = path.relative_to(ROOT).parts[0]
    assert set() == (imported(path) & set(MAY_IMPORT)) - MAY_IMPORT[room] - {room}


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.parent.name == "policies"], ids=lambda path: path.stem
)
def test_policies_are_pure(path: Path) -> None:
    """Nothing in policies knows a clock, a file, a network or a database."""
    assert set() == imported(path) & IMPURE


def test_only_decide_makes_decisions() -> None:
    """Promise 1: only policies.decide makes a Decision, save the relay's one for "error", which allows nothing."""
    makers = {
        str(path.relative_to(ROOT))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Decision", "decide.Decision", "policies.Decision")
    }
    assert {"policies/decide.py", "proxy/relay.py"} == makers
    source = (ROOT / "proxy/relay.py").read_text("utf-8")
    assert "dict.fromkeys(Purpose, Reason.ERROR)" in source
