"""Golden hashes: what each stage made of known input, as long as its code version stays."""
