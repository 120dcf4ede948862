"""Signs of life of long jobs: one seam, a bar on a terminal, and log lines everywhere else."""
