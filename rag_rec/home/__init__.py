"""Opens what the settings name: the store and the keys."""
