"""Helpers that several test modules share: text made on the spot, tiny models, commands, stand-ins."""
