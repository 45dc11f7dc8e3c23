"""Everything drawn: frames and marks, and the pictures of each record."""
