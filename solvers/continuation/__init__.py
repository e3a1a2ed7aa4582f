"""Solutions along a parameter: branches, where they end, and where a function of them vanishes."""
