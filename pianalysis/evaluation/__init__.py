"""A model read: likelihood, passkeys, perplexity, short tasks, summaries."""
