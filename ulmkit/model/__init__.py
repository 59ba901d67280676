"""AWD-LSTM models: encoder, language model, classifier, and what they are built of."""
