"""Which of a user's own interactions a prompt may see: three strategies under a token budget."""
