"""Tells what an approximate removal left in an adapter, by comparison with trainings that never saw the people."""
