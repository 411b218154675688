"""The benchmark: who is compared, and what is made of the numbers."""
