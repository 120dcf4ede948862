"""Removals in a process of their own, so that answers do not share an interpreter with them."""
