#!/bin/sh
# Exit 0 where Node 20 or newer and npm are on PATH.
command -v npm >/dev/null || exit 1
major=$(node --version 2>/dev/null | sed 's/^v//; s/\..*//')
[ -n "$major" ] && [ "$major" -ge 20 ]
