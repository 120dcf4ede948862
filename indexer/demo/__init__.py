"""The demonstration: a simulated world with known biases, and one run of the whole product over it."""
