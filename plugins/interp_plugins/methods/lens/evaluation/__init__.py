"""The evaluation of lenses: one suite for every method, with baselines and intervals."""
