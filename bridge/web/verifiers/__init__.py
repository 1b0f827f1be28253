"""One module for each kind of proof that a caller can bring."""
