"""Why a run stands still: the wait-for graph of its tasks, and the verdicts built from it."""
