"""The lean form of a published encoder: the same weights in a graph of our own.

The export carries masks, transpositions and bookkeeping of shapes that one window of known length does not need. So the
parts that carry weights are found by how the data flows between them (`dissect`), whatever glue an exporter has put
there, and joined anew (`assemble`). What does not look as expected is no reason to guess: `Strange` is raised, and the
original's graph is kept. Nor is what was assumed believed: `trial` runs both, stage by stage, before a file is used.
"""
