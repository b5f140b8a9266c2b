"""``python -m vtloop``: the same as the command ``vtloop``."""

import sys

from vtloop.cli import main

if __name__ == "__main__":
    sys.exit(main())
