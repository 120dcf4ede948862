"""Batch jobs: ingest, build, verify and publish index generations."""
