"""The model that sampling and learning share: loading it, one attention for both, and its token log-probabilities."""
