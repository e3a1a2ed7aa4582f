"""Message passing and its witnesses: sensing operators, AMP, matrix denoisers, ridge, Gibbs, seeds."""
