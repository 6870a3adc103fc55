"""From the wikitext of one article to its cleaned lines.

`article_cleaner` holds the two profiles.

For `seed`: `bounded_wikiextractor` runs wikiextractor with the patches of `wikiextractor_patches`, which add the checks
of `extraction_limits` and the faster steps of `wikiextractor_fast_paths`; `template_store` holds a dump's templates.

For `clean`, in the order of the steps: `invisible_characters`; `extension_tags` (comments, `<ref>`, `<math>`; TeX in
`tex_formulas`); `wikitext_parser` (templates, links); `template_rendering` (what a template shows; with
`template_arguments`, `numbers_and_dates`, `country_codes`, `language_names`, and those that show nothing in
`invisible_templates`); `dropped_elements` (tables, hidden text); `sections` (headings, appendices); `paragraphs` (lines
that belong together); `html_markup` (tags, ruby, entities); `line_cleanup` (gaps that dropped markup leaves, incomplete
sentences). `placeholders` has the private characters that these steps exchange.
"""

from jgpt_dagster.corpus.wikitext.article_cleaner import WikitextError, article_cleaner

__all__ = ["WikitextError", "article_cleaner"]
