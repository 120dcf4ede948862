"""The ledger of erasures: signed entries in a chain, and their copy in a file."""
