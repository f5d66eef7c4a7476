"""The only code that touches SDKs: Azure on one side, `core.ports` on the other."""
