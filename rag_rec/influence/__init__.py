"""What single training samples do to trained weights, to second order: for removals and for debiasing."""
