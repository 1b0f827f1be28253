"""Use cases over the ports only."""
