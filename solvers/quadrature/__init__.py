"""Quadrature rules with error estimates, on any backend."""
