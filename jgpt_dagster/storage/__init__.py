"""Reading and writing of outputs: artifacts, manifests, Parquet, atomic writes, hashes, locks, object stores."""
