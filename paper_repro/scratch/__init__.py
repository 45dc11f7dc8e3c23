"""Small models trained from scratch, with or without a ridge on h: training and measuring."""
