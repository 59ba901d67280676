"""Evaluation: perplexity, document scores, classification metrics, paired comparison, and baselines."""

from typing import TYPE_CHECKING

from ulmkit.lazy import lazy_exports

if TYPE_CHECKING:
    from ulmkit.evaluation.baselines.classifiers import NBSVM, MajorityClass, TfidfLogistic, TfidfRidge
    from ulmkit.evaluation.drift import (
        Comparison,
        DriftReport,
        TextMeasures,
        UnlikeText,
        class_shares,
        find_periods,
        unlikeness,
    )
    from ulmkit.evaluation.labels.classification import SingleLabelReport, evaluate_single
    from ulmkit.evaluation.labels.conformal import (
        ConformalReport,
        ConformalSets,
        choose_conformal_sets,
        evaluate_conformal_sets,
    )
    from ulmkit.evaluation.labels.held_out_answers import HeldOutAnswers, sample_rows
    from ulmkit.evaluation.labels.multi_label import MultiLabelReport, evaluate_multi
    from ulmkit.evaluation.labels.regression import NumberReport, evaluate_number
    from ulmkit.evaluation.labels.selection import (
        Selection,
        SelectiveReport,
        choose_selection,
        coverage_table,
        errors_by_coverage,
        evaluate_selection,
    )
    from ulmkit.evaluation.labels.temperature import fit_temperature, scaled_log_probabilities, scaled_probabilities
    from ulmkit.evaluation.labels.token_labels import Span, TokenLabelReport, evaluate_tokens, spans
    from ulmkit.evaluation.language.cache import (
        CACHE_PTB,
        CACHE_PTB_PAPER,
        CACHE_WIKITEXT2,
        CacheConfig,
        cache_log_probability,
        cache_perplexity,
        mixed_log_probability,
        search_cache,
    )
    from ulmkit.evaluation.language.dynamic_evaluation import (
        DYNAMIC_PTB,
        DYNAMIC_SGD,
        DYNAMIC_WIKITEXT2,
        DynamicConfig,
        convert_printed,
        dynamic_perplexities,
        dynamic_perplexity,
    )
    from ulmkit.evaluation.language.dynamic_search import search_dynamic
    from ulmkit.evaluation.language.gradient_statistics import (
        GradientStatistics,
        gradient_statistics,
        weights_fingerprint,
    )
    from ulmkit.evaluation.language.perplexity import Perplexity, approximate_perplexity, first_context, perplexity
    from ulmkit.evaluation.language.scoring import DocumentScore, score_documents
    from ulmkit.evaluation.language.search import Search
    from ulmkit.evaluation.metrics import ClassMetrics, GroupError, expected_calibration_error, wilson_interval
    from ulmkit.evaluation.paired import PairedComparison, compare_paired
else:
    __getattr__, __all__ = lazy_exports(__name__, __file__)
