"""Methods that the candidate model is compared with, and how ranks become figures."""
