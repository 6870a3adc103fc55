"""From the wikitext of one article to its cleaned lines.

`cleaning` holds the two profiles. For `clean`: `markup` (a page's structure), `templates` (what a call shows, with
`arguments`, `countries` and `quantities`; those that show nothing in `silent_templates`), `remains` (what dropped
markup leaves behind) and `marks` (characters for what later steps must not take for markup). For `seed`: `extractor`,
wikiextractor within bounds, with `shortcuts` for its speed, and `template_pages`, the templates of a dump.
"""

from jgpt_dagster.corpus.wikitext.article_cleaner import WikitextError, article_cleaner

__all__ = ["WikitextError", "article_cleaner"]
