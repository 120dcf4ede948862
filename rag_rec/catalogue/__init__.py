"""Items: the table of them, columns for filters, and filter conditions."""
