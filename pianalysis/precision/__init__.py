"""Phase errors in bfloat16, float16 and float32, with proved positions."""
