"""The RoPE specification: frequencies, presets, configs, and phases that stay exact."""
