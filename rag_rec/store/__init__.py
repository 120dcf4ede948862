"""System of record: users, items, interactions and the change log."""
