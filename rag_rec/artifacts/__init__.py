"""Files on disk: who may read them, how they are written, and destroyed; and immutable folders of them."""
