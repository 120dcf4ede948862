"""Adapters as a layer that holds people: whom each one saw, whether it may still rank, and how it goes."""
