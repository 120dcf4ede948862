"""The answer to a request: candidates, evidence, the prompt, the ranking and its reasons."""
