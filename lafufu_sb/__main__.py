"""``python -m lafufu_sb``: the command ``lafufu``."""

import sys

from lafufu_sb.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
