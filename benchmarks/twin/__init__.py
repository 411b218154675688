"""A model of Parakeet's exact size with random weights: it costs what Parakeet costs, and writes nonsense.

It makes measurements possible where the real weights are not, and repeatable where they are: a seed gives the same
weights everywhere.
"""

WRITTEN = "README.txt"
"""Written last: where it is, the twin is whole."""
