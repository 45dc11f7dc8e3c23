"""One module an item: compute(seed) -> records by stem, plot(records), claims(records)."""
