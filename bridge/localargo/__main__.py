"""`python -m bridge.localargo`."""

from __future__ import annotations

import sys

from bridge.localargo.command import main

if __name__ == "__main__":
    sys.exit(main())
