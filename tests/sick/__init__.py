"""Sick programs, one defect each, and the verdict and cause that a run of each has to give."""
