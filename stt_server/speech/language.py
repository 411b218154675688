"""Which language a text is in, and what languages are called."""

import re
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

from stt_server.errors import InvalidLanguage

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# Code, its other ISO 639 spellings, and the name OpenAI's clients know. The codes are those of Whisper.
_TABLE = """
af/afr afrikaans; am/amh amharic; ar/ara arabic; as/asm assamese; az/aze azerbaijani; ba/bak bashkir;
be/bel belarusian; bg/bul bulgarian; bn/ben bengali; bo/bod/tib tibetan; br/bre breton; bs/bos bosnian;
ca/cat catalan; cs/ces/cze czech; cy/cym/wel welsh; da/dan danish; de/deu/ger german; el/ell/gre greek;
en/eng english; es/spa spanish; et/est estonian; eu/eus/baq basque; fa/fas/per persian; fi/fin finnish;
fo/fao faroese; fr/fra/fre french; gl/glg galician; gu/guj gujarati; ha/hau hausa; haw hawaiian;
he/heb/iw hebrew; hi/hin hindi; hr/hrv croatian; ht/hat haitian creole; hu/hun hungarian;
hy/hye/arm armenian; id/ind/in indonesian; is/isl/ice icelandic; it/ita italian; ja/jpn japanese;
jw/jav/jv javanese; ka/kat/geo georgian; kk/kaz kazakh; km/khm khmer; kn/kan kannada; ko/kor korean;
la/lat latin; lb/ltz luxembourgish; ln/lin lingala; lo/lao lao; lt/lit lithuanian; lv/lav latvian;
mg/mlg malagasy; mi/mri/mao maori; mk/mkd/mac macedonian; ml/mal malayalam; mn/mon mongolian;
mr/mar marathi; ms/msa/may malay; mt/mlt maltese; my/mya/bur myanmar; ne/nep nepali; nl/nld/dut dutch;
nn/nno nynorsk; no/nor/nb/nob norwegian; oc/oci occitan; pa/pan punjabi; pl/pol polish; ps/pus pashto;
pt/por portuguese; ro/ron/rum/mo romanian; ru/rus russian; sa/san sanskrit; sd/snd sindhi; si/sin sinhala;
sk/slk/slo slovak; sl/slv slovenian; sn/sna shona; so/som somali; sq/sqi/alb albanian; sr/srp serbian;
su/sun sundanese; sv/swe swedish; sw/swa swahili; ta/tam tamil; te/tel telugu; tg/tgk tajik; th/tha thai;
tk/tuk turkmen; tl/tgl/fil tagalog; tr/tur turkish; tt/tat tatar; uk/ukr ukrainian; ur/urd urdu; uz/uzb uzbek;
vi/vie vietnamese; yi/yid/ji yiddish; yo/yor yoruba; yue cantonese; zh/zho/chi/cmn chinese
"""
_ROWS = [(codes.split("/"), name) for codes, name in (row.split(maxsplit=1) for row in _TABLE.split(";"))]

LANGUAGE_NAMES: dict[str, str] = {codes[0]: name.strip() for codes, name in _ROWS}
"""Code -> lower-case English name, as OpenAI writes it in `verbose_json`."""

_CODES = {code: codes[0] for codes, _ in _ROWS for code in codes}
_NAMED = {name: code for code, name in LANGUAGE_NAMES.items()} | {
    "burmese": "my", "castilian": "es", "flemish": "nl", "haitian": "ht", "mandarin": "zh", "moldavian": "ro",
    "moldovan": "ro", "panjabi": "pa", "pushto": "ps", "sinhalese": "si", "valencian": "ca",
}  # fmt: skip
_UNSAID = frozenset({"", "auto", "multi", "und"})
"""What clients send when they mean: find out."""
_TAG = re.compile(r"([a-z]{2,3})(?:-[a-z0-9]{1,8})*", re.ASCII)
_LONGEST_TAG = 35
"""Characters; RFC 5646 lets nobody expect more."""


def parse_language(value: str) -> str | None:
    """The ISO 639-1 code a client meant: `fr` for `fr`, `FR`, `fr-FR`, `fr_CA`, `fra`, `fre` and `French`.

    None when it leaves the choice open. A well-formed code of a language not in `LANGUAGE_NAMES` comes back
    as it is: whether the model speaks it is for others to say. Raises `InvalidLanguage` for all else.
    """
    value = value.strip().lower()
    if value in _UNSAID:
        return None
    if value in _NAMED:
        return _NAMED[value]
    tag = _TAG.fullmatch(value.replace("_", "-"))
    if tag is None or len(value) > _LONGEST_TAG:
        raise InvalidLanguage(param="language")
    return _CODES.get(tag[1], tag[1])


_GUESSED = "bg hr cs da nl en et fi fr de el hu it lv lt mt pl pt ro sk sl es sv ru uk"
"""The languages of Parakeet v3, the only ones worth guessing among."""
_SURE = 0.65
"""Least probability to speak up. Measured on the 82 written transcripts of the test clips in eight languages,
isolated digits included: 64 answered, all right; at 0.6 one Russian greeting becomes Bulgarian. On 599
three-word pieces of them: 71 % answered, 99.1 % of those right; on 242 eight-word pieces 98 % and 100 %."""

_loading = Lock()


def guess_language(text: str) -> str | None:
    """The most likely of Parakeet's languages, or None when the text is too short or too odd to tell.

    The first call takes about a second and 55 MB; later ones 0.1 s per million characters.
    """
    if not any(letter.isalpha() for letter in text):
        return None
    language, probability = _identifier().classify(text)
    return str(language) if probability >= _SURE else None


def _identifier() -> "LanguageIdentifier":
    # Kept for the life of the process, unlike other parts: a table of constants, which nobody configures.
    # Two threads must not load it side by side.
    with _loading:
        return _load_identifier()


@cache
def _load_identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    full = LanguageIdentifier.from_model_file(MODEL_FILE)
    full.set_languages(_GUESSED.split())
    # A second one from the chosen columns lets go of the other hundred languages, 22 MB.
    columns = (full.nb_ptc, full.nb_pc, full.nb_classes)
    return LanguageIdentifier(*columns, full.tk_nextmove, full.tk_output, norm_probs=True, tk_row=full.tk_row)
