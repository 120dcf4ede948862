"""Embeddings and the three vector indices: items, profiles, interactions."""
