"""A recommendation service that ranks from retrieved evidence and from which a person can be removed exactly."""

__version__ = "0.1.0"
