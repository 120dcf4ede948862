"""Readers of the file formats that ``rag-rec ingest`` accepts."""
