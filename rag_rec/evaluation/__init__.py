"""Measures of what the product recommends, and how sure one can be of them."""
