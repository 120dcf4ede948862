"""How evenly recommendations treat items and people: figures with intervals, and what a training can push on."""
