"""The command line `rag-rec`."""
