"""Copies of a system: a backup, and a restore that forgets again whoever was forgotten after it."""
