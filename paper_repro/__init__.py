"""The paper item by item: `python -m paper_repro list | run [ITEM ...] | check`."""
