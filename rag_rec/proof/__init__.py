"""Proof of a removal: comparison with the twin that never knew the person, traces in files, and harm to others."""
