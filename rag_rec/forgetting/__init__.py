"""Removing a person, or some of a person's interactions, from every layer that holds them."""
