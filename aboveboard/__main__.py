"""``python -m aboveboard``, as the workers are started."""

from aboveboard.cli import main

main()
