"""Plaintext key material: the only package that holds it. The folder is the warning."""
