"""Files on disk: who may read them, how they are written, and how they are destroyed."""
