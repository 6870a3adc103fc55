"""From the wikitext of one article to its cleaned lines.

`article_cleaner` holds the two profiles.

For `seed`: `bounded_wikiextractor` runs wikiextractor with the patches of `wikiextractor_patches`, which add the checks
of `extraction_limits` and the faster steps of `wikiextractor_fast_paths`; `template_store` holds a dump's templates.

For `clean`: `invisible_characters`; `sections` (headings, appendices); `extension_tags`
(`<ref>`, `<math>`; TeX in `tex_formulas`); `wikitext_parser` (templates, tables, links); `template_rendering` (what a
template shows; with `template_arguments`, `numbers_and_dates`, `country_codes`, `language_names`, and those that show
nothing in `invisible_templates`); `html_markup` (tags, ruby, entities); `line_cleanup` (gaps that dropped markup
leaves). `placeholders` has the private characters that these steps exchange.
"""

from jgpt_dagster.corpus.wikitext.article_cleaner import WikitextError, article_cleaner

__all__ = ["WikitextError", "article_cleaner"]
