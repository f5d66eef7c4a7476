"""Pure rules: no I/O, no clock, no SDK. Only the standard library and `core.errors`."""
