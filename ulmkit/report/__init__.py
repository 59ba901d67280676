"""Plots of training and of results."""

from ulmkit.report.drawing import check_plot_path
from ulmkit.report.plots import plot_comparison, plot_lr_find, plot_quickstart, plot_runs, plot_training

__all__ = [
    "check_plot_path",
    "plot_comparison",
    "plot_lr_find",
    "plot_quickstart",
    "plot_runs",
    "plot_training",
]
