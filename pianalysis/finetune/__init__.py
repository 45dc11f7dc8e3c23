"""Fine-tuning under an extension scheme: recipe, corpus, training; its results are checkpoints."""
