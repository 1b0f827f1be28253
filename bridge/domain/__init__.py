"""Pure rules of the bridge: no event loop, no I/O, no clock, no randomness."""
