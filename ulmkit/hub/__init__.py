"""Model folders: saving, describing, checking, loading."""

from typing import TYPE_CHECKING

from ulmkit.lazy import lazy_exports

if TYPE_CHECKING:
    from ulmkit.hub.cards import model_card, pair_card
    from ulmkit.hub.ensemble import save_ensemble
    from ulmkit.hub.facts import (
        ContinuationFacts,
        DataFacts,
        LadderFacts,
        LadderRow,
        LanguageModelGain,
        MachineFacts,
        RunFacts,
        SplitFacts,
        TrainingFacts,
        facts_from_json,
        facts_to_json,
        package_versions,
    )
    from ulmkit.hub.folder_config import FORMAT_VERSION, Direction, holds_language_model, read_config, read_facts
    from ulmkit.hub.held_out import HeldOut
    from ulmkit.hub.loading import load_model
    from ulmkit.hub.model_folder import load_classifier, load_language_model, save_classifier, save_language_model
    from ulmkit.hub.pair import is_pair, load_pair, save_classifier_pair, save_language_model_pair, save_pair
    from ulmkit.hub.parts import (
        ClassifierParts,
        EnsembleParts,
        FeatureParts,
        LanguageModelParts,
        Member,
        Pair,
        member_name,
    )
    from ulmkit.hub.push import copy_model, model_files, parse_target, push_folder
    from ulmkit.hub.resolve import resolve_model
    from ulmkit.hub.shipped import shipped_models, shipped_models_folder
else:
    __getattr__, __all__ = lazy_exports(__name__, __file__)
