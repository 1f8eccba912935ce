"""Administration and a client: `python manage.py --help` (or `python3 dev.py manage --help`)."""

from __future__ import annotations

from cli.app import main

if __name__ == "__main__":
    main()
