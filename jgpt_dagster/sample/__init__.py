"""The embedded sample: a small wiki and web corpus, packed as a mirror of the real download sites."""
