"""The account of what cleaning leaves out of articles: by reason and by template, for a page, a shard and a dump.

`account` collects it while a page is cleaned, `figures` are the result, `ledger` is the file beside a shard with the
figures of each of its articles, `report` and `chart` show sums to a reader, and `letters` counts.
"""
