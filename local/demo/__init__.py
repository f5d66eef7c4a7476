"""The demo: what Keysteward does, shown on a stack of its own, in half a minute.

Invariants: what is shown is checked, and the demo ends with an error when anything is not as expected; Keysteward is
reached over HTTP alone, the vaults with the official SDK as an outsider reaches them, and only what nobody could do in
Azure within seconds (hundreds of keys with a past) goes through the emulator's control API.
"""
