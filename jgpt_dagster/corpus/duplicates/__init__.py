"""Near-duplicate documents and repeated paragraphs, found on disk by merging the signatures of shards."""
