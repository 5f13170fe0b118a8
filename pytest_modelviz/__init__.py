"""Visual regression testing for PyTorch models, as a pytest plugin.

Importing this package imports neither torch nor numpy nor pillow: a test run that uses none of the
fixtures pays nothing.
"""

from pytest_modelviz.attribution.targets import WholeOutput, whole_output

__all__ = ["WholeOutput", "whole_output"]

__version__ = "0.1.0"
