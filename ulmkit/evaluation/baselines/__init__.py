"""Linear baselines that every classifier is compared with."""
