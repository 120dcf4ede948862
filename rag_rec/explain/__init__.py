"""Explanations in words, bound to what was retrieved."""
