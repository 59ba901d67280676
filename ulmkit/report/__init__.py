"""Figures of training and of results."""

from ulmkit.report.measurements import commit, machine, print_rows, row, write_measurements
from ulmkit.report.plots import plot_comparison, plot_lr_find, plot_quickstart, plot_runs, plot_training

__all__ = [
    "commit",
    "machine",
    "plot_comparison",
    "plot_lr_find",
    "plot_quickstart",
    "plot_runs",
    "plot_training",
    "print_rows",
    "row",
    "write_measurements",
]
