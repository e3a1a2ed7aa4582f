"""Fixed points: all solutions in doubles, then any number of digits."""
