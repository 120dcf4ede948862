"""The steps of a removal after its acceptance. Each can be run again, and looks for itself at what is left."""
