"""Pseudonyms of people, and signatures of the system."""
