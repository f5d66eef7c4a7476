"""The control API: plain HTTP and JSON on loopback, with which tests and demos arrange the emulated world."""

from local.emulator.control.app import control_app

__all__ = ["control_app"]
