"""The developer's commands, on a machine with only Python 3.11+: `python3 dev.py --help`.

Old Pythons can read this file too, so that they can report that they are too old. The commands are
in `local_host.setup`, which needs the standard library only.
"""

import os
import sys

OLDEST = (3, 11)


def main() -> int:
    """Check the Python that runs this, then hand over."""
    if sys.version_info[:2] < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        this = sys.version.split()[0]
        sys.stderr.write(
            f"dev.py needs Python {oldest} or newer, but this is {this} ({sys.executable}). "
            f"Start it with a newer one, for example: python{oldest} dev.py run\n"
        )
        return 2
    if os.name != "posix":
        sys.stderr.write("dev.py runs on Linux and macOS; on Windows, run it inside WSL.\n")
        return 2
    from local_host.setup.commands import run_command

    return run_command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
