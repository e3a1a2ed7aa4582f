"""Number types with one interface: doubles, mpmath, python-flint."""
