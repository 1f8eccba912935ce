"""The local host: runs `function_app.py` without the vendor's host (docs/design.md#5, PARITY.md).

This module imports nothing, because `local_host.setup` below it has to run on a Python without any
packages.
"""
