"""Exit 0 where a torch of at least 2.13 is installed, 1 where one must be."""

import sys
from importlib.metadata import PackageNotFoundError, version

LEAST = (2, 13)

try:
    found = tuple(int(part) for part in version("torch").split("+")[0].split(".")[:2])
except PackageNotFoundError:
    found = (0, 0)
sys.exit(0 if found >= LEAST else 1)
