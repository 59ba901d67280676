"""Metrics of predicted labels, one module per kind of label."""
