"""What every role must agree on, byte for byte.

Importing any part of it also keeps Python's recursion limit where it belongs: py_ecc, which the
Ethereum libraries bring along, lifts the limit to 100,000 on import, and then a deeply nested JSON
reply of a hostile daemon would overflow the C stack and end the process instead of raising.
"""

import sys

import py_ecc  # noqa: F401 -- imported for its one side effect, so that it cannot come later

RECURSION_LIMIT = 1_000
"""Python's own default."""

sys.setrecursionlimit(RECURSION_LIMIT)
