"""What a fine-tune takes: architecture, memory, operations, time, and the rates of the paper."""
