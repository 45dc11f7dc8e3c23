"""The fine-tune that tests the theory: experiment, readings, twins of the paper's tables."""
