"""Country codes that are templates of the Japanese Wikipedia: a flag and the name.

The codes are those of ISO, IOC and FIFA, some of former states. A year after the code (`{{USA1912}}`) selects the flag
of that year; some of those have another name. What is not listed here is a territory with an ISO code of three letters,
whose name is that of the CLDR, as Babel has it.
"""

import re
from functools import lru_cache

_CODES = """
AFG アフガニスタン AGO アンゴラ ALB アルバニア ALG アルジェリア AND アンドラ ANG アンゴラ ARE アラブ首長国連邦
ARG アルゼンチン ARM アルメニア ASA アメリカ領サモア ATG アンティグア・バーブーダ AUS オーストラリア AUT オーストリア
AZE アゼルバイジャン BAH バハマ BAN バングラデシュ BAR バルバドス BDI ブルンジ BEL ベルギー BEN ベナン
BER バミューダ諸島 BFA ブルキナファソ BGD バングラデシュ BGR ブルガリア BHR バーレーン BHS バハマ BHU ブータン
BIH ボスニア・ヘルツェゴビナ BIZ ベリーズ BLR ベラルーシ BLZ ベリーズ BMU バミューダ諸島 BOL ボリビア BOT ボツワナ
BRA ブラジル BRB バルバドス BRN ブルネイ BRU ブルネイ BTN ブータン BUL ブルガリア BUR ブルキナファソ BWA ボツワナ
CAF 中央アフリカ共和国 CAM カンボジア CAN カナダ CAY ケイマン諸島 CGO コンゴ共和国 CHA チャド CHE スイス CHI チリ
CHL チリ CHN 中国 CIV コートジボワール CMR カメルーン COD コンゴ民主共和国 COG コンゴ共和国 COK クック諸島
COL コロンビア COM コモロ CPV カーボベルデ CRC コスタリカ CRI コスタリカ CRO クロアチア CTA 中央アフリカ共和国
CUB キューバ CYP キプロス CZE チェコ DDR 東ドイツ DEN デンマーク DEU ドイツ DJI ジブチ DMA ドミニカ国 DNK デンマーク
DOM ドミニカ共和国 DZA アルジェリア ECU エクアドル EGY エジプト ENG イングランド ERI エリトリア ESA エルサルバドル
ESP スペイン EST エストニア ETH エチオピア EU 欧州連合 FIJ フィジー FIN フィンランド FJI フィジー FRA フランス
FRG 西ドイツ FRO フェロー諸島 FSM ミクロネシア連邦 GAB ガボン GAM ガンビア GBR イギリス GBS ギニアビサウ GDR 東ドイツ
GEO ジョージア GEQ 赤道ギニア GER ドイツ GHA ガーナ GIB ジブラルタル GIN ギニア GMB ガンビア GNB ギニアビサウ
GNQ 赤道ギニア GRC ギリシャ GRD グレナダ GRE ギリシャ GRL グリーンランド GRN グレナダ GTM グアテマラ GUA グアテマラ
GUI ギニア GUM グアム GUY ガイアナ HAI ハイチ HKG 香港 HND ホンジュラス HON ホンジュラス HRV クロアチア HTI ハイチ
HUN ハンガリー IDN インドネシア INA インドネシア IND インド IRE アイルランド IRI イラン IRL アイルランド IRN イラン
IRQ イラク ISL アイスランド ISR イスラエル ITA イタリア JAM ジャマイカ JOR ヨルダン JPN 日本 KAZ カザフスタン
KEN ケニア KGZ キルギス KHM カンボジア KIR キリバス KNA セントクリストファー・ネイビス KOR 韓国 KSA サウジアラビア
KUW クウェート KWT クウェート LAO ラオス LAT ラトビア LBA リビア LBN レバノン LBR リベリア LBY リビア LCA セントルシア
LES レソト LIB レバノン LIE リヒテンシュタイン LKA スリランカ LSO レソト LTU リトアニア LUX ルクセンブルク
LVA ラトビア MAC マカオ MAD マダガスカル MAR モロッコ MAS マレーシア MAW マラウイ MCO モナコ MDA モルドバ
MDG マダガスカル MDV モルディブ MEX メキシコ MHL マーシャル諸島 MKD 北マケドニア MLI マリ MLT マルタ MMR ミャンマー
MNE モンテネグロ MNG モンゴル国 MON モナコ MOZ モザンビーク MRI モーリシャス MRT モーリタニア MTN モーリタニア
MUS モーリシャス MWI マラウイ MYA ミャンマー MYS マレーシア NAM ナミビア NCA ニカラグア NED オランダ NEP ネパール
NER ニジェール NGA ナイジェリア NGR ナイジェリア NIC ニカラグア NIG ニジェール NIR 北アイルランド NLD オランダ
NOR ノルウェー NPL ネパール NRU ナウル NZL ニュージーランド OMA オマーン OMN オマーン PAK パキスタン PAN パナマ
PAR パラグアイ PER ペルー PHI フィリピン PHL フィリピン PLE パレスチナ PLW パラオ PNG パプアニューギニア
POL ポーランド POR ポルトガル PRC 中華人民共和国 PRI プエルトリコ PRK 北朝鮮 PRT ポルトガル PRY パラグアイ
PSE パレスチナ PUR プエルトリコ QAT カタール ROC 中華民国 ROK 韓国 ROM ルーマニア ROU ルーマニア RSA 南アフリカ
RUS ロシア RWA ルワンダ SAM サモア SAU サウジアラビア SCG セルビア・モンテネグロ SCO スコットランド SDN スーダン
SEN セネガル SEY セーシェル SGP シンガポール SIN シンガポール SKN セントクリストファー・ネイビス SLB ソロモン諸島
SLE シエラレオネ SLO スロベニア SLV エルサルバドル SMR サンマリノ SOL ソロモン諸島 SOM ソマリア SRB セルビア
SRI スリランカ SSD 南スーダン SSR ソビエト連邦 STP サントメ・プリンシペ SUD スーダン SUI スイス SUN ソビエト連邦
SUR スリナム SVK スロバキア SVN スロベニア SWE スウェーデン SWZ エスワティニ SYC セーシェル SYR シリア TAN タンザニア
TCD チャド TCH チェコスロバキア TGA トンガ TGO トーゴ THA タイ TJK タジキスタン TKM トルクメニスタン TLS 東ティモール
TOG トーゴ TON トンガ TPE チャイニーズタイペイ TRI トリニダード・トバゴ TTO トリニダード・トバゴ TUN チュニジア
TUR トルコ TUV ツバル TWN 台湾 TZA タンザニア UAE アラブ首長国連邦 UGA ウガンダ UK イギリス UKR ウクライナ UN 国際連合
URS ソビエト連邦 URU ウルグアイ URY ウルグアイ USA アメリカ合衆国 UZB ウズベキスタン VAN バヌアツ VAT バチカン
VCT セントビンセント・グレナディーン VEN ベネズエラ VIE ベトナム VIN セントビンセント・グレナディーン VNM ベトナム
VUT バヌアツ WAL ウェールズ WSM サモア YEM イエメン YUG ユーゴスラビア ZAF 南アフリカ ZAM ザンビア ZIM ジンバブエ
ZMB ザンビア ZWE ジンバブエ CHN1889 清 DEU1871 ドイツ帝国 DEU1935 ナチス・ドイツ ITA1861 イタリア王国
RUS1721 ロシア帝国 RUS1858 ロシア帝国 RUS1883 ロシア帝国
AHO オランダ領アンティル AIN 個人資格の中立選手 ANT オランダ領アンティル ANZ オーストララシア ARU アルバ
ASM アメリカ領サモア ATF フランス領南方・南極地域 BIR ビルマ BOH ボヘミア BWI 西インド連邦 CEY セイロン
CIS 独立国家共同体 CSK チェコスロバキア CSH チェコスロバキア EOR 難民選手団 EQG 赤道ギニア EUA 東西統一ドイツ
EUN EUN GCO ゴールド・コースト GUF フランス領ギアナ HBR イギリス領ホンジュラス IOT イギリス領インド洋地域
ISV アメリカ領ヴァージン諸島 IVB イギリス領ヴァージン諸島 KOS コソボ MAL マラヤ連邦 NBO 北ボルネオ
NRH 北ローデシア OAR ロシアからのオリンピック選手 PYF フランス領ポリネシア RHO ローデシア SAA ザール
SADR サハラ・アラブ民主共和国
TAH タヒチ UAR アラブ連合共和国 VGB イギリス領ヴァージン諸島 VIR アメリカ領ヴァージン諸島 VNO 南ベトナム
VOL オートボルタ XKX コソボ YAR 北イエメン YMD 南イエメン ZAI ザイール ZAR ザイール
"""
_COUNTRIES = dict(zip(_CODES.split()[::2], _CODES.split()[1::2], strict=True))
_CODE = re.compile(r"([A-Z]{2,4})[0-9]{0,4}")
# Codes for private use, of test data and of no place.
_NO_PLACE = re.compile("AAA|Q[M-Z][M-Z]|X[A-Z][A-Z]|ZZZ")
_BRACKETS = re.compile(r"\s*\([^()]*\)")


@lru_cache(maxsize=1024)
def country_name(code: str) -> str:
    """Return the name of the country with this code, else "". Case matters: `{{Vie}}` is another template."""
    if match := _CODE.fullmatch(code):
        return _COUNTRIES.get(code) or _COUNTRIES.get(match[1]) or _territory_name(match[1])
    return ""


def _territory_name(alpha3: str) -> str:
    """Return the CLDR's name of a territory by its ISO 3166 code of three letters, "" if there is none."""
    from babel import Locale  # here, since most processes need no name
    from babel.core import get_global

    alpha2 = get_global("territory_aliases").get(alpha3, ())
    if len(alpha3) != 3 or len(alpha2) != 1 or _NO_PLACE.fullmatch(alpha3):
        return ""
    return _BRACKETS.sub("", Locale("ja").territories.get(alpha2[0], ""))
