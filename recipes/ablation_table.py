"""The ablation table: perplexities of each row beside the paper's, and how well the two orders agree."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ablation_order import rank_correlation, ranks, spread
from ablation_rows import FULL, ROWS, Scale
from recipe_command import row

from ulmkit.tables import text_table

SPLITS = ("valid", "test")
Results = Mapping[str, Sequence[Mapping[str, Any]]]
"""Results of a row's runs, one for each seed, by the row's name."""


def perplexities(results: Results, name: str, split: str) -> list[float]:
    """Perplexities of a row, one for each seed; empty if the split was not evaluated."""
    stages = [list(result["perplexity"].values())[0 if ROWS[name].is_first_stage else -1] for result in results[name]]
    return [stage[split] for stage in stages if split in stage]


def print_table(results: Results, scale: Scale) -> None:
    """Print a row for each part left out, and the correlation of the two orders."""
    paper, ours = _mean_validation(results)
    paper_ranks, our_ranks = ranks(paper), ranks(ours)
    rows = []
    for name in results:
        cut = _ended_by_budget(results, name)
        rows.append(
            (
                _part(name),
                f"{ROWS[name].valid:.1f} / {ROWS[name].test:.1f}",
                paper_ranks[name],
                spread(perplexities(results, name, "valid")),
                spread(perplexities(results, name, "test")),
                our_ranks[name],
                f"{_mean_cost(results, name, 'epochs'):.0f}" + (f" ({cut} cut)" if cut else ""),
                f"{_mean_cost(results, name, 'minutes'):.1f}",
            )
        )
    header = ("without", "paper, valid / test", "rank", "valid: mean (min-max)", "test", "rank", "epochs", "minutes")
    print(text_table(header, rows))
    correlation = rank_correlation(paper, ours)
    if correlation is not None:
        print(f"\nrank correlation of the validation perplexities with the paper's: {correlation:.2f}")
    sizes = scale.recipe.sizes.encoder
    seeds = len(next(iter(results.values())))
    print(
        f"\nours: embedding {sizes.embedding_size}, hidden {sizes.hidden_size}, {scale.text_fraction:g} of the training"
        f" text, at most {scale.epochs} epochs a stage, {seeds} seeds; paper: embedding 400, hidden 1150, all text\n"
        "epochs, minutes: mean over seeds; cut: runs whose last stage ended with its epochs, not by its stopping rule"
    )


def measured_rows(results: Results) -> list[dict[str, Any]]:
    """Rows of the benchmarks' JSON, with the paper's perplexities as peers."""
    rows = []
    paper, ours = _mean_validation(results)
    paper_ranks, our_ranks = ranks(paper), ranks(ours)
    for name in results:
        for split in SPLITS:
            values = perplexities(results, name, split)
            if not values:
                continue
            case = f"without {_part(name)}, {split}"
            printed = getattr(ROWS[name], split)
            rows.append(
                {
                    **row(case, "perplexity", statistics.fmean(values), printed, "paper", lower_is_better=True),
                    "lowest": min(values),
                    "highest": max(values),
                    "seeds": len(values),
                    "epochs_a_run": _mean_cost(results, name, "epochs"),
                    "minutes_a_run": _mean_cost(results, name, "minutes"),
                    "ended_by_budget": _ended_by_budget(results, name),
                    "place": our_ranks[name],
                    "place_in_paper": paper_ranks[name],
                }
            )
    return rows


def _part(name: str) -> str:
    """The part that a row leaves out."""
    return "nothing" if name == FULL else name


def _mean_validation(results: Results) -> tuple[dict[str, float], dict[str, float]]:
    """Validation perplexity by row: the paper's, and the mean of ours."""
    ours = {name: statistics.fmean(perplexities(results, name, "valid")) for name in results}
    return {name: ROWS[name].valid for name in results}, ours


def _stage_values(result: Mapping[str, Any], name: str, key: str) -> list[Any]:
    """Values under a key of a run's result, for the stages that led to the row's perplexity."""
    values = list(result[key].values())
    return values[:1] if ROWS[name].is_first_stage else values


def _mean_cost(results: Results, name: str, key: str) -> float:
    """Epochs or minutes of a run, its stages together."""
    return statistics.fmean(sum(_stage_values(result, name, key)) for result in results[name])


def _ended_by_budget(results: Results, name: str) -> int:
    """Runs that their budget ended, not their stopping rule."""
    return sum(_stage_values(result, name, "stopped_because")[-1] == "budget" for result in results[name])
