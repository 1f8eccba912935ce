"""What `dev.py` does, on the standard library only: set-up, the storage emulator, the gateway.

`local_host.setup.azurite` also serves the tests. Nothing here may import an installed package,
because installing them is what this is for.
"""
