"""Fine-tuning of pairs: a forward and a backward language model, one after the other on the same corpus."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ulmkit.errors import FolderError
from ulmkit.hub import LanguageModelParts
from ulmkit.pipeline.data import DocumentCallback
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.pipeline.language_models import finetune, prepare_for_model, usual_finetuning
from ulmkit.pipeline.options import RunOptions
from ulmkit.pipeline.recipes import LanguageModelRecipe
from ulmkit.pipeline.stage_folder import newest_checkpoint
from ulmkit.text import EncodedCorpus
from ulmkit.text.corpus.builder import TRAINING_SPLITS
from ulmkit.text.read.documents import Data
from ulmkit.training import Budget, PrefixedProgress, latest_checkpoint


def finetune_pair(
    forward: LanguageModelParts,
    backward: LanguageModelParts,
    data: Data | EncodedCorpus,
    *,
    budget: Budget,
    recipe: LanguageModelRecipe | None = None,
    data_options: DataOptions | None = None,
    run: RunOptions | None = None,
    splits: Sequence[str] = TRAINING_SPLITS,
    progress: DocumentCallback | None = None,
) -> tuple[LanguageModelParts, LanguageModelParts]:
    """Fine-tune both members of a pair on the target text, which is prepared once; see `finetune`.

    Args:
        forward: Forward member to start from; it is not changed.
        backward: Backward member to start from, with the same tokenizer; it is not changed.
        data: Text in any form that `prepare` takes.
        budget: How long to train: epochs or steps of each member, or minutes of both together.
        recipe: Settings of the training; None takes those of `usual_finetuning` for the forward member.
        data_options: How to read and split the data.
        run: Where and how to run. Checkpoints are in subfolders "forward" and "backward" of its folder; `resume` goes
            on with the member that was stopped, and a member that is complete is loaded from its checkpoint.
        splits: Splits to learn from, of those the data has.
        progress: Called with the number of documents prepared.

    Returns:
        The fine-tuned forward and backward member.
    """
    run = run or RunOptions()
    recipe = recipe or usual_finetuning(forward)
    run.world.check_divides(recipe.batch_size)
    if run.resume and run.folder is not None and newest_checkpoint(Path(run.folder)) is None:
        raise FolderError(f"{run.folder}: expected a checkpoint to resume, got none; begin without resume")
    corpus = prepare_for_model(forward, data, data_options, run, progress)
    share = budget if budget.minutes is None else Budget(minutes=budget.minutes / 2)
    runs = [_member_run(run, forward), replace(_member_run(run, backward), on_corpus=None, warn=False)]
    tuned = [
        finetune(member, corpus, budget=share, recipe=recipe, run=options, splits=splits)
        for member, options in zip((forward, backward), runs, strict=True)
    ]
    return tuned[0], tuned[1]


def _member_run(run: RunOptions, member: LanguageModelParts) -> RunOptions:
    """The options of a member's run: a folder of its own, and progress that names the direction."""
    display = None if run.progress is None else PrefixedProgress(run.progress, member.direction)
    run = replace(run, progress=display, tensorboard=run.events_of(member.direction))
    if run.folder is None:
        return run
    folder = Path(run.folder) / member.direction
    return replace(run, folder=folder, resume=run.resume and latest_checkpoint(folder) is not None)
