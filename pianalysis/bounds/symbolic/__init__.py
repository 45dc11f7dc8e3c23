"""The paper's derivation, step by step, decided by computer algebra."""
