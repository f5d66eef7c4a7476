"""An emulator of Entra, managed identity, Azure Resource Manager, Key Vault keys and Managed HSM keys.

One process over real TLS on loopback. It knows nothing of the product that is tested with it: unmodified Azure SDK
clients are its interface, and a plain HTTP control API arranges the world that they see.
"""
