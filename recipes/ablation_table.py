"""The ablation table: mean and spread over seeds beside the paper's figures, and the order of the rows in each."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ablation_rows import FULL, ROWS, Scale
from recipe_command import row

SPLITS = ("valid", "test")
Results = Mapping[str, Sequence[Mapping[str, Any]]]
"""Results of a row's runs, one for each seed, by the row's name."""


def figures(results: Results, name: str, split: str) -> list[float]:
    """A row's perplexities, one for each seed; none if that split was not judged."""
    stages = [found["perplexity"] for found in results[name]]
    chosen = [list(found.values())[0 if ROWS[name].is_first_stage else -1] for found in stages]
    return [found[split] for found in chosen if split in found]


def ranks(values: Mapping[str, float]) -> dict[str, int]:
    """Places by name, 1 for the lowest value; equals share the better place."""
    return {name: 1 + sum(other < value for other in values.values()) for name, value in values.items()}


def rank_correlation(first: Mapping[str, float], second: Mapping[str, float]) -> float | None:
    """Spearman's correlation of two orders of the same names; None for fewer than three."""
    from scipy.stats import spearmanr

    if len(first) < 3:
        return None
    return float(spearmanr(list(first.values()), [second[name] for name in first]).statistic)


def print_table(results: Results, scale: Scale) -> None:
    """A row for each part left out, and how the two orders agree."""
    cells = [("without", "paper, valid / test", "place", "valid: mean (min-max)", "test", "place", "epochs", "minutes")]
    paper, ours = _means(results)
    places = ranks(paper), ranks(ours)
    for name in results:
        printed = f"{ROWS[name].valid:.1f} / {ROWS[name].test:.1f}"
        spread = [_spread(figures(results, name, split)) for split in SPLITS]
        epochs, minutes = (_mean_cost(results, name, what) for what in ("epochs", "minutes"))
        cut = _ended_by_budget(results, name)
        cells.append(
            (
                _part(name),
                printed,
                str(places[0][name]),
                *spread,
                str(places[1][name]),
                f"{epochs:.0f}" + (f" ({cut} cut)" if cut else ""),
                f"{minutes:.1f}",
            )
        )
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    correlation = rank_correlation(paper, ours)
    if correlation is not None:
        print(f"\nrank correlation of the validation figures with the paper's: {correlation:.2f}")
    sizes, seeds = scale.recipe.sizes, len(next(iter(results.values())))
    print(
        f"\nours: embedding {sizes.embedding_size}, hidden {sizes.hidden_size}, {scale.text_fraction:g} of the training"
        f" text, at most {scale.epochs} epochs a stage, {seeds} seeds; paper: embedding 400, hidden 1150, all text\n"
        "epochs, minutes: mean of a run's; cut: runs whose last stage ended with its epochs, not by its stopping rule"
    )


def measured_rows(results: Results) -> list[dict[str, Any]]:
    """The figures in the form of the benchmarks' JSON, the paper's as peers."""
    rows = []
    paper, ours = _means(results)
    places = ranks(paper), ranks(ours)
    for name in results:
        for split in SPLITS:
            found = figures(results, name, split)
            if found:
                mean, printed = statistics.fmean(found), getattr(ROWS[name], split)
                line = row(
                    f"without {_part(name)}, {split}", "perplexity", mean, printed, "paper", lower_is_better=True
                )
                spread = {"lowest": min(found), "highest": max(found), "seeds": len(found)}
                costs = {f"{what}_a_run": _mean_cost(results, name, what) for what in ("epochs", "minutes")}
                spread |= {**costs, "ended_by_budget": _ended_by_budget(results, name)}
                rows.append({**line, **spread, "place": places[1][name], "place_in_paper": places[0][name]})
    return rows


def _part(name: str) -> str:
    """What a row leaves out."""
    return "nothing" if name == FULL else name


def _means(results: Results) -> tuple[dict[str, float], dict[str, float]]:
    """Validation perplexity by row: the paper's, ours."""
    ours = {name: statistics.fmean(figures(results, name, "valid")) for name in results}
    return {name: ROWS[name].valid for name in results}, ours


def _spread(found: Sequence[float]) -> str:
    return f"{statistics.fmean(found):.1f} ({min(found):.1f}-{max(found):.1f})" if found else "-"


def _stages(found: Mapping[str, Any], name: str, what: str) -> list[Any]:
    """What a run's result says of each stage that the row's figure took."""
    stages = list(found[what].values())
    return stages[:1] if ROWS[name].is_first_stage else stages


def _mean_cost(results: Results, name: str, what: str) -> float:
    """Epochs or minutes that a run took, its stages together."""
    return statistics.fmean(sum(_stages(found, name, what)) for found in results[name])


def _ended_by_budget(results: Results, name: str) -> int:
    """How many runs could have gone on."""
    return sum(_stages(found, name, "stopped_because")[-1] == "budget" for found in results[name])
