"""One way in for bytes and one way out: reading, atomic writing, hashing, manifests, Parquet and locks."""
