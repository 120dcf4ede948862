"""Who did what to whom, where people stand as pseudonyms."""
