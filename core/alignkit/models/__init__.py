"""Holds the frozen base and its roles, and computes the roles' signals."""
