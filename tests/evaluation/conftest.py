"""What the tests of language models' evaluation share."""

import pytest
from support.streams import batches, tiny_model

from ulmkit.evaluation import GradientStatistics, gradient_statistics
from ulmkit.model.language_model import AWDLSTMLanguageModel


@pytest.fixture
def model() -> AWDLSTMLanguageModel:
    return tiny_model()


@pytest.fixture
def statistics(model: AWDLSTMLanguageModel) -> GradientStatistics:
    return gradient_statistics(model, batches())
