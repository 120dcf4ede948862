"""The engine: everything a program needs, opened from its settings."""
