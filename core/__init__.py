"""Keysteward's product code: pure rules in `domain`, use cases in `services`, I/O in `adapters`."""
