"""Receipts: what is known of each layer after a removal, when one is issued, and the records of requests."""
