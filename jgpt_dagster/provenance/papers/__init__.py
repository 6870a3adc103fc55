"""Papers of a release that machines and authorities read, as pure functions of what its chain and its recipe record.

They hold nothing volatile: the same release has the same papers. No library is needed to write them; `check_papers`
has the validators of the formats (extra `papers`).
"""
