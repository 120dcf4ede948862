"""What the events of interactions mean."""
