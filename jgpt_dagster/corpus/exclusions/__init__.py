"""Documents that are taken out of the corpora: the list of a data root, what it matches, and shards without that."""
