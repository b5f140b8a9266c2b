"""Healthy programs: whatever order a run takes, vtloop has nothing to say about them."""
