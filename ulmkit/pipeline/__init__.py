"""The stages as functions: prepare, pretrain, finetune, train; and the recipes they follow."""

from typing import TYPE_CHECKING

from ulmkit.lazy import lazy_exports

if TYPE_CHECKING:
    from ulmkit.cache_folder import default_cache
    from ulmkit.pipeline.automatic import (
        ENOUGH_VALIDATION,
        climb_corpus,
        ensemble_of,
        ladder_text_parts,
        train_automatically,
    )
    from ulmkit.pipeline.baselines import linear_baselines, texts_of, word_cutter
    from ulmkit.pipeline.classifiers import train
    from ulmkit.pipeline.continuation import continue_classifier
    from ulmkit.pipeline.data import prepare
    from ulmkit.pipeline.data_options import DataOptions
    from ulmkit.pipeline.document_progress import watch_documents
    from ulmkit.pipeline.document_streams import EnsembleReading
    from ulmkit.pipeline.ensembles import EnsemblePredictor, evaluate_classifier, make_ensemble, networks
    from ulmkit.pipeline.evaluation_data import ALL, EvaluationData, evaluation_options, select_evaluation_data
    from ulmkit.pipeline.ladder import Ladder, choose_judging
    from ulmkit.pipeline.ladder_text import LadderText
    from ulmkit.pipeline.language_model_evaluation import (
        LanguageModelEvaluation,
        evaluate_language_model,
        score_ids,
        training_statistics,
    )
    from ulmkit.pipeline.language_models import (
        find_finetuning_rate,
        finetune,
        pretrain,
        usual_finetuning,
        validation_perplexity,
    )
    from ulmkit.pipeline.methods import (
        LADDERS,
        METHODS,
        check_recipe,
        climbs_ladder,
        setting_of_networks,
        trains_networks,
        usual_recipe,
        why_no_networks,
    )
    from ulmkit.pipeline.modern import MODERN_PTB, MODERN_WIKITEXT2, ModernRecipe
    from ulmkit.pipeline.network_predictor import NetworkPredictor
    from ulmkit.pipeline.network_streams import NetworkReading
    from ulmkit.pipeline.options import (
        DEFAULT_MODEL,
        RATE_SEARCH_STEPS,
        SEARCH_TOKENS,
        STATISTICS_BATCHES,
        RunOptions,
        place,
    )
    from ulmkit.pipeline.pairs import finetune_pair
    from ulmkit.pipeline.prediction import embed_documents, evaluate_rows, predict_outputs, predict_rows
    from ulmkit.pipeline.published import (
        AWD_LSTM_PTB,
        AWD_LSTM_PTB_PAPER,
        AWD_LSTM_WIKITEXT2,
        AWD_LSTM_WIKITEXT2_PAPER,
        AWD_QRNN_PTB,
        AWD_QRNN_WIKITEXT2,
        MOS_PTB,
        MOS_WIKITEXT2,
        PublishedRecipe,
    )
    from ulmkit.pipeline.recipe_files import read_recipe, write_recipe
    from ulmkit.pipeline.recipe_search import (
        RecipeSearch,
        SearchOptions,
        search_classifier_recipe,
        search_finetuning_recipe,
    )
    from ulmkit.pipeline.recipes import (
        ALL_LAYERS,
        CLASSIFY,
        FINETUNE,
        FINETUNE_PLAIN,
        GO_ON,
        PRETRAIN,
        ClassifierRecipe,
        LanguageModelRecipe,
    )
    from ulmkit.pipeline.rungs import Kind
    from ulmkit.pipeline.search_spaces import ClassifierSpace, LanguageModelSpace
    from ulmkit.pipeline.search_study import SearchTrial, search_folder
    from ulmkit.pipeline.stage_folder import run_folder, training_folder
    from ulmkit.pipeline.training_part import baseline_rows, describe_baseline_rows, training_rows, validation_rows
else:
    __getattr__, __all__ = lazy_exports(__name__, __file__)
