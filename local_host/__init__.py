"""The local host: runs `function_app.py` without the vendor's host (docs/design.md#5, PARITY.md).

This module imports nothing: `local_host.setup` lives below it and has to work on a Python
that has no packages yet.
"""
