"""Candidate items from statistics that a person can be subtracted from, exactly."""
