"""Who runs on a store: services, processes and the places that answer for their files."""
