"""FUDLR-style debiasing: what makes an adapter unfair is found in what it learned, and removed without a training."""
