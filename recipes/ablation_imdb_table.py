"""The tables of ULMFiT's ablation: errors of each row beside the paper's, and how well the orders agree."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ablation_imdb_rows import PAPER_DATA, ROWS, ClassifierRun
from ablation_order import rank_correlation, ranks, spread
from few_labels import Draw, accuracies
from recipe_command import row
from ulmfit import Prediction, mean_prediction

from ulmkit.tables import text_table

Predictions = Mapping[ClassifierRun, Sequence[Prediction]]
"""Predictions of each classifier for the validation documents, one for each draw."""

_RUNGS_TABLE = "rungs of the ladder (not in the paper)"


def row_predictions(predictions: Predictions, name: str) -> list[Prediction]:
    """Predictions of a row, one for each draw: those of its classifiers averaged."""
    draws = zip(*(predictions[run] for run in ROWS[name].runs), strict=True)
    return [draw[0] if len(draw) == 1 else mean_prediction(draw) for draw in draws]


def errors(predictions: Predictions, name: str) -> list[float]:
    """Errors of a row in percent, one for each draw."""
    return [prediction.error for prediction in row_predictions(predictions, name)]


def print_tables(names: Sequence[str], predictions: Predictions) -> None:
    """Print each of the paper's tables with the rows that were run, and the correlation of their orders."""
    for table in dict.fromkeys(ROWS[name].table for name in names):
        in_table = [name for name in names if ROWS[name].table == table]
        our_ranks = ranks({name: statistics.fmean(errors(predictions, name)) for name in in_table})
        rows = [
            (
                name,
                *(None if value is None else f"{value:.2f}" for value in ROWS[name].paper),
                spread(errors(predictions, name), decimals=2),
                our_ranks[name],
                f"{_mean_fact(predictions, name, 'epochs'):.1f}",
                f"{_mean_fact(predictions, name, 'minutes'):.1f}",
            )
            for name in in_table
        ]
        header = (
            table,
            *(f"paper, {data}" for data in PAPER_DATA),
            "ours: mean (min-max)",
            "rank",
            "epochs",
            "minutes",
        )
        print(f"\n{text_table(header, rows)}")
        correlations = paper_correlations(in_table, predictions)
        if correlations:
            shown = ", ".join(f"{data} {value:.2f}" for data, value in correlations.items())
            print(f"rank correlation with the paper's order: {shown}")


def paper_correlations(names: Sequence[str], predictions: Predictions) -> dict[str, float]:
    """Rank correlation of our errors with the paper's, by its data set, where there is one."""
    correlations = {}
    for number, data in enumerate(PAPER_DATA):
        paper = {name: value for name in names if (value := ROWS[name].paper[number]) is not None}
        ours = {name: statistics.fmean(errors(predictions, name)) for name in paper}
        correlation = rank_correlation(paper, ours)
        if correlation is not None:
            correlations[data] = correlation
    return correlations


def measured_rows(names: Sequence[str], predictions: Predictions) -> list[dict[str, Any]]:
    """Rows of the benchmarks' JSON, with the paper's errors on IMDb as peers."""
    rows = []
    for name in names:
        values = errors(predictions, name)
        in_table = [other for other in names if ROWS[other].table == ROWS[name].table]
        places = ranks({other: statistics.fmean(errors(predictions, other)) for other in in_table})
        peer = ROWS[name].paper[0]
        source = "none published" if peer is None else f"Howard & Ruder 2018, {PAPER_DATA[0]}"
        case = f"{ROWS[name].table}: {name}"
        rows.append(
            {
                **row(case, "error in %", statistics.fmean(values), peer, source, lower_is_better=True),
                "paper": dict(zip(PAPER_DATA, ROWS[name].paper, strict=True)),
                "errors": values,
                "place": places[name],
                "minutes_a_run": _mean_fact(predictions, name, "minutes"),
                "epochs_a_run": _mean_fact(predictions, name, "epochs"),
                "stopped_because": [
                    prediction.facts["stopped_because"] for run in ROWS[name].runs for prediction in predictions[run]
                ],
                "rank_correlations": paper_correlations(in_table, predictions),
            }
        )
    return rows


def print_rungs(draws: Sequence[Draw]) -> None:
    """Print the errors of the ladder's rungs."""
    found = rung_errors(draws)
    our_ranks = ranks({name: statistics.fmean(values) for name, values in found.items()})
    rows = [(name, spread(values, decimals=2), our_ranks[name]) for name, values in found.items()]
    print(f"\n{text_table((_RUNGS_TABLE, 'ours: mean (min-max)', 'rank'), rows)}")


def measured_rungs(draws: Sequence[Draw]) -> list[dict[str, Any]]:
    """Rows of the benchmarks' JSON for the ladder's rungs, which have no peers."""
    rows = []
    for name, values in rung_errors(draws).items():
        case = f"{_RUNGS_TABLE}: {name}"
        entry = row(case, "error in %", statistics.fmean(values), None, "none published", lower_is_better=True)
        rows.append({**entry, "errors": values})
    return rows


def rung_errors(draws: Sequence[Draw]) -> dict[str, list[float]]:
    """Errors of each rung in percent, one for each draw that climbed to it."""
    names = dict.fromkeys(name for draw in draws for name in draw.predictions)
    return {name: [100.0 - value for value in accuracies(draws, name)] for name in names}


def _mean_fact(predictions: Predictions, name: str, fact: str) -> float:
    return statistics.fmean(prediction.facts[fact] for prediction in row_predictions(predictions, name))
