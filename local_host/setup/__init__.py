"""The commands of `dev.py`: set-up, the storage emulator, the gateway.

`local_host.setup.azurite` is also used by the tests. This package uses the standard library only,
because it installs all other packages.
"""
