"""The stand-in's control calls for the tests of clients: `/_standin/…` (docs/stand-in.md).

They stand in front of the app in the local host, only with `--standin`, only on the loopback
address and only on a storage emulator. The deployed app has none of them.
"""
