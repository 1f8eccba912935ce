"""The import types and their rules: pure code, without storage and without HTTP."""
