"""The loop: propose configs, screen them, confirm the best on fresh seeds, record a verdict for each, repeat."""
