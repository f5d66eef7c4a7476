"""Azure through its own SDKs: sign-in, management and the data planes of Key Vault and Managed HSM.

Only this package knows the SDKs' types and Azure's wire; what leaves it is of `core.domain` or `core.errors`.
"""
