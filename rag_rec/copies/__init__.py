"""Copies of a system: a backup, and a restore that forgets the people again who were forgotten after it."""
