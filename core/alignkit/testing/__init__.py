"""Gives the author of a method `check_objective`, the conformance suite.

from alignkit.testing import check_objective

def test_it_conforms():
    check_objective(Direct(beta=0.5))
"""

from alignkit.testing.conformance import check_objective

__all__ = ["check_objective"]
