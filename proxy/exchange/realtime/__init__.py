"""Spoken sessions over WebSockets: messages pass, each turn is a call, reserved before it can begin and settled at its end."""
