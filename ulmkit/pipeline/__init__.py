"""The stages as functions: prepare, pretrain, finetune, train; and the recipes they follow."""

from ulmkit.pipeline.classifiers import (
    CLASSIFIER_TASKS,
    Report,
    document_scores,
    make_report,
    predict_rows,
    train,
    training_rows,
    validation_rows,
    watched,
)
from ulmkit.pipeline.data import DataOptions, default_cache, prepare, prepare_once, training_texts
from ulmkit.pipeline.judged import ALL, Judged, evaluation_options, is_training_part, judged_documents
from ulmkit.pipeline.language_model_evaluation import (
    LanguageModelEvaluation,
    evaluate_language_model,
    training_statistics,
)
from ulmkit.pipeline.language_models import find_finetuning_rate, finetune, pretrain, validation_perplexity
from ulmkit.pipeline.linear_baselines import linear_baselines, texts_of
from ulmkit.pipeline.modern import MODERN_PTB, MODERN_WIKITEXT2, ModernRecipe
from ulmkit.pipeline.prediction import predict_backward, predict_outputs
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
from ulmkit.pipeline.recipes import CLASSIFY, FINETUNE, PRETRAIN, ClassifierRecipe, LanguageModelRecipe
from ulmkit.pipeline.running import RunOptions, place

__all__ = [
    "ALL",
    "AWD_LSTM_PTB",
    "AWD_LSTM_PTB_PAPER",
    "AWD_LSTM_WIKITEXT2",
    "AWD_LSTM_WIKITEXT2_PAPER",
    "AWD_QRNN_PTB",
    "AWD_QRNN_WIKITEXT2",
    "CLASSIFIER_TASKS",
    "CLASSIFY",
    "FINETUNE",
    "MODERN_PTB",
    "MODERN_WIKITEXT2",
    "MOS_PTB",
    "MOS_WIKITEXT2",
    "PRETRAIN",
    "ClassifierRecipe",
    "DataOptions",
    "Judged",
    "LanguageModelEvaluation",
    "LanguageModelRecipe",
    "ModernRecipe",
    "PublishedRecipe",
    "Report",
    "RunOptions",
    "default_cache",
    "document_scores",
    "evaluate_language_model",
    "evaluation_options",
    "find_finetuning_rate",
    "finetune",
    "is_training_part",
    "judged_documents",
    "linear_baselines",
    "make_report",
    "place",
    "predict_backward",
    "predict_outputs",
    "predict_rows",
    "prepare",
    "prepare_once",
    "pretrain",
    "texts_of",
    "train",
    "training_rows",
    "training_statistics",
    "training_texts",
    "validation_perplexity",
    "validation_rows",
    "watched",
]
