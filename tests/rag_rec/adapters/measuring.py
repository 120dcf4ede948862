"""What was measured of a removal, for tests."""

from rag_rec.adapters.measured import Measured

MEASURED = Measured(
    "influence", 3, 450, 50, 40, "likelihood", (0.78, 0.7, 0.85), (0.52, 0.41, 0.62), 0.71, 0.05, (0.02, -0.01, 0.05)
)
