"""What ranks the candidates from the evidence. One protocol; here the order of the candidates passes through."""
