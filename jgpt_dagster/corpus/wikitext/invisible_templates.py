"""The templates of the Japanese Wikipedia that show no text of a sentence.

These are notes, editors' doubts, icons, anchors, boxes and navigation. A template that is neither here nor in
`template_rendering` may show a word, so a sentence with it is dropped. To add one, list its name here in lower case, or
a prefix or suffix that a family of templates shares.
"""

import re

from jgpt_dagster.corpus.wikitext.language_names import language_name

# Notes and doubts of editors, icons and invisible signs within a line.
_INLINE_NAMES = """
r rp wap cite full_citation_needed page_needed specify verify_source sfn sfnp sfnm sfnref harvid harvnb
harvnbs harvcolnb harvsfn efn efn2 efn-ua efn-la refn refnest ref_label ref note note_label cref cref2 cnote cnote2 gr
fn fnb ref2 refname citation citation_style 脚注 注 注釈 出典 参照 参照方法
未検証 いつ? 誰? どこ? なぜ? link_fa リンクfa 特殊文字 誰 誰2 だれ 誰によって いつ いつから どこ どれ どの どのように
どのくらい どちら なぜ 何 何を なに リンク切れ dead_link deadlink cn citation_needed fact when who whom where which
clarify why vague by_whom 信頼性要検証 信頼性の低い医療情報源 検証失敗 出典無効 信頼できない情報源 疑問点 独自研究
独自研究? 誇大広告 言葉を濁さない 言葉を濁さないで
anchor anchors アンカー coord coord2 座標 ウィキ座標
flagicon flag_icon flagdeco flagicon2 flagicon_image 旗 国旗画像 color_box colorbox color_sample legend-line
legend_line display_none none hs sort_key 0 00 padding shy wbr wrap zwsp zwj zwnj lrm rlm dagger dag ja_exp_route_sign
sort_under sortkey ソートキー invisible 非表示 audio_icon 音声 ogg speakericon スピーカー increase decrease
steady up down profit loss gold silver bronze gold1 silver2 bronze3 gold_medal silver_medal bronze_medal 金メダル
銀メダル 銅メダル yes_check tick cross check チェック star yellow_card yel red_card sent_off sentoff goal suboff subon
injury cap captain ref_icon pdf pdfアイコン lang_icon icon wayback webarchive archive google_books
"""
# Families of templates. 要出典範囲 and the like show their text and match no list.
_INLINE_PREFIX_NAMES = """
要 cite_ citation_ sfn efn refn color_ lang_icon #tag: doi naid ncid oclc ndl pmid pmc jstor arxiv kotobank コトバンク
"""
_INLINE_SUFFIX_NAMES = (
    "icon アイコン 路線記号 駅番号 ナンバリング リンク切れ 出典 脚注 アンカー ソート メダル route_sign /color"
)

# Boxes, notices, navigation and what shapes the page.
_BLOCK_NAMES = """
reflist notelist notelist2 注釈リスト 脚注ヘルプ refbegin refend 更新 古い情報 中立的観点 中立性 特筆性 出典の明記
複数の問題 一次資料 正確性 観点 加筆 加筆依頼 雑多な内容の箇条書き 大言壮語 宣伝 存命人物の出典明記 半保護 保護
pp-vandalism 工事中 翻訳中 翻訳直後 現在進行 継続中の作品 暫定記事名 記事名の制約 分割提案 統合提案 改名提案 削除
selfref notice

main main2 see see2 see_also seealso also further details 詳細記事 関連記事 混同 別人 otheruses otheruseslist for for2
other_people about about2 redirect redirect2 redirectlist distinguish hatnote rellink 曖昧さ回避 人名の曖昧さ回避
地名の曖昧さ回避 ネタバレ ネタバレ終了 ウィキポータルリンク ウィキプロジェクトリンク portal portal_bar wikipedia
wikipediapage commons commonscat commonscat-inline commons&cat commons_category wiktionary wikisource wikisourcehas
wikisourcelang wikiquote wikiquote2 wikibooks wikinews wikiversity wikivoyage wikivoyage-inline wikiatlas wikispecies
species sisterlinks sister multimedia wikidata ウィキデータ pathnav prefix intitle toc otoc toc_limit tocright tocleft
compacttoc switcher clear - after_float defaultsort displaytitle 不適切な記事名 表題修正
小文字 記事名 座標一覧 normdaten 典拠管理 authority_control osm_box osmrelation googlemap

colbegin colend col-begin col-end col-break col-2 col-3 col-4 col_end column columns-start columns-end div_col
div_col_end multicol multicol-break multicol-end 枠終 listen external_media clearleft clearright hidden_end
"""
_BLOCK_PREFIX_NAMES = """
infobox navbox sidebar location_map 基礎情報 pp- otheruses redirect commons wikisource wikiquote wiktionary wikiversity
wikivoyage portal bar_ image_ multiple_image double_image wide_image tall_image graph chart tree_chart familytree
ahnentafel defaultsort: デフォルトソート: displaytitle: imdb allcinema kinejun official 公式 twitter facebook
instagram youtube ameba spotify discogs musicbrainz curlie dmoz 国立国会図書館 近代デジタルライブラリー 全国書誌番号
"""
_BLOCK_SUFFIX_NAMES = "stub スタブ 路線図 位置図 navi nav sidebar infobox -start -end 終了"


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.replace("_", " ") for name in names.split())


# The link to an article in another language, as an icon: {{enlink|Lithuanians}}.
_LANGUAGE_LINK = re.compile(r"([a-z]{2,3})link[0-9]?")

_INLINE, _BLOCKS = frozenset(_split(_INLINE_NAMES)), frozenset(_split(_BLOCK_NAMES))
_INLINE_PREFIXES, _INLINE_SUFFIXES = _split(_INLINE_PREFIX_NAMES), _split(_INLINE_SUFFIX_NAMES)
_BLOCK_PREFIXES, _BLOCK_SUFFIXES = _split(_BLOCK_PREFIX_NAMES), _split(_BLOCK_SUFFIX_NAMES)


def is_invisible_inline(name: str) -> bool:
    """Return whether the template with this name (in lower case, with blanks) is a note or sign without a word."""
    if name in _INLINE or name.startswith(_INLINE_PREFIXES) or name.endswith(_INLINE_SUFFIXES):
        return True
    link = _LANGUAGE_LINK.fullmatch(name)
    return link is not None and language_name(link[1]) != ""


def is_invisible_block(name: str) -> bool:
    """Return whether the template with this name (in lower case, with blanks) is a box or shapes the page."""
    return name in _BLOCKS or name.startswith(_BLOCK_PREFIXES) or name.endswith(_BLOCK_SUFFIXES)
