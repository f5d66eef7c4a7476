"""Use cases: each reads through ports, asks the domain, and writes through ports."""
