"""The frozen base, its roles, and the computation of their signals."""
