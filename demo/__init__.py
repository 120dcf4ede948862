"""The demonstration: an invented world taken through every part of the product. It runs from a checkout."""
