"""Figures of training and of results."""

from ulmkit.report.plots import plot_comparison, plot_lr_find, plot_quickstart, plot_training

__all__ = ["plot_comparison", "plot_lr_find", "plot_quickstart", "plot_training"]
