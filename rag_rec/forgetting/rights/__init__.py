"""What is done for a person beside forgetting: access, consent to a new identity, legal holds."""
