"""`python -m fer_tools` is `fer`."""

import sys

from fer_tools.commands import main

if __name__ == "__main__":
    sys.exit(main())
