"""Data folders as places of a system: who they are, who has them open, and which of them a removal waits for."""
