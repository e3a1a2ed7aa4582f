"""Numbers only: backends, quadrature, fixed points and simulations. Knows no SymPy and no model."""
