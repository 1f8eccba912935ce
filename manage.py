"""Administration and a client: `python manage.py --help` (or `python3 dev.py manage --help`)."""

from __future__ import annotations

import sys


def run() -> None:
    """Run the command line, or explain how to install its packages."""
    try:
        from cli.app import main
    except ModuleNotFoundError as missing:
        sys.exit(
            f"manage.py needs {missing.name}, which this Python does not have: use "
            "`python3 dev.py manage …`, or install requirements.txt and then requirements-dev.txt."
        )
    main()


if __name__ == "__main__":
    run()
