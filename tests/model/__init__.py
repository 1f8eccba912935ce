"""The order model: the real services on storage in memory, under random interleavings."""
