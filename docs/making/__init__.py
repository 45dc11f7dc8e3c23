"""What the site is made of: pages generated from records, claims, docstrings and sources."""
