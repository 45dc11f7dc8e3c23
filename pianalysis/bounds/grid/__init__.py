"""The local grid theorem: what a score bounded on the integers may do between them."""
