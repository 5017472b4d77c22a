"""Measures of finished policies and reward models."""
