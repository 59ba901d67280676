"""Plots of training and of results, and a page about a classifier."""

from typing import TYPE_CHECKING

from ulmkit.lazy import lazy_exports

if TYPE_CHECKING:
    from ulmkit.report.classifier_report import ClassifierReport, report_on
    from ulmkit.report.drawing import check_plot_path
    from ulmkit.report.page import write_report
    from ulmkit.report.plots import (
        plot_comparison,
        plot_label_curves,
        plot_lr_find,
        plot_quickstart,
        plot_runs,
        plot_training,
    )
    from ulmkit.report.training_plot import plot_parts
else:
    __getattr__, __all__ = lazy_exports(__name__, __file__)
