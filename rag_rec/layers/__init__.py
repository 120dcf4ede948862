"""The layers that a person's data reaches, and what is found in each after a removal."""
