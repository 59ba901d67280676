"""Training: schedules, optimizers, phases, and the one trainer of all stages. Knows nothing of text."""

from typing import TYPE_CHECKING

from ulmkit.lazy import lazy_exports

if TYPE_CHECKING:
    from ulmkit.training.budget import Budget
    from ulmkit.training.checkpoint import Checkpoint, latest_checkpoint, load_checkpoint, save_checkpoint
    from ulmkit.training.distributed import join_world, joined_world, leave_world
    from ulmkit.training.interrupt import TrainingInterrupted
    from ulmkit.training.log import JSONL_NAME
    from ulmkit.training.memory import keep_freed_memory
    from ulmkit.training.monitor import load_model_weights
    from ulmkit.training.optimizer_config import OptimizerConfig, discriminative_rates
    from ulmkit.training.optimizers import make_optimizer
    from ulmkit.training.progress import (
        LineProgress,
        PrefixedProgress,
        ProgressDisplay,
        ProgressInfo,
        RichProgress,
        make_progress,
    )
    from ulmkit.training.rate_search import RateSearch, lr_find
    from ulmkit.training.rng import seed_everything
    from ulmkit.training.schedules import Schedule, constant, flat_cosine, one_cycle, slanted_triangular
    from ulmkit.training.task import StepResult, TrainingTask
    from ulmkit.training.trainer import Trainer, TrainingResult
    from ulmkit.training.trainer_config import TrainerConfig
    from ulmkit.training.unfreezing import Phase, chain_thaw, full, gradual_unfreezing, last
    from ulmkit.training.world import World
else:
    __getattr__, __all__ = lazy_exports(__name__, __file__)
