"""Metrics of predictions, one module per kind of label."""
