"""Several machines: samplers and judging as processes of a Ray cluster, learner ranks that share a model."""
