"""Constants enclosed in balls: what is printed with these digits is proved."""
