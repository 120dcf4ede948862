"""The compact generator: a small causal language model over item tokens; see :mod:`rag_rec.compact.base`."""
