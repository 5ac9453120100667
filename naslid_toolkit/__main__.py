"""``python -m naslid_toolkit``: the same as the command ``naslid``."""

import sys

from naslid_toolkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
