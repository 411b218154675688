"""French spelling between words: elision, contraction, possessives before vowels.

Noun phrases mark their articles with an underscore (`le_ chien`), for only an article contracts (`du chien`, but
`de le voir`) and only an indefinite or partitive one gives way to `de` (`pas de chien`). The marks go away here.
"""

import re

ASPIRATED = (
    r"huit|hui(?:tième|taine)|haut|hasard|hamac|hameau|honte|héros\b|haine|hanche|handicap|hangar|hareng|haricot|hausse|hall|"
    r"halte|hamster|harpe|hât|hérisson|hibou|hockey|homard|hors|housse|hublot|hurle|hutte|hache|haie|hanté|hardi|harnais|"
    r"heurt|hiss|hollandais|Hollande|Hongrie|honteu|Hugo|hoch|onz|oui\b|yaourt|yeux|yacht|yoga|huée"
)
"""Beginnings of words with an h, or a vowel, that stops elision: those in our lists."""
VOWEL = rf"(?!(?:{ASPIRATED}))(?:[aeiouhâàäéèêëîïôöùûüœAEIOUHÂÀÉÈÊËÎÏÔÙÛÜŒ]|y\b)"
ELIDED = "le_|la_|[Ll]e|[Ll]a|[Jj]e|[Mm]e|[Tt]e|[Ss]e|[Nn]e|[Dd]e|[Qq]ue|[Jj]usque|[Ll]orsque|[Pp]uisque"
ELISION = re.compile(rf"(?<![\w-])({ELIDED}) (?={VOWEL})")
REWRITTEN = tuple(
    (re.compile(rf"(?<![\w-]){pattern}"), replacement)
    for pattern, replacement in (
        # Indefinite and partitive articles vanish after `de`.
        (r"([Dd])e (?:du_|dela_|des_|de_) ", r"\1e "),
        (r"de_ ", "de "),
        (r"dela_ ", "de la_ "),
        (r"du_ ", "de le_ "),
        (rf"([Mm]a|[Tt]a|[Ss]a) (?={VOWEL})", lambda found: found[1][0] + "on "),
        (rf"([Cc])e_ (?={VOWEL})", r"\1et "),
        (r"([Ss])i (?=ils?\b)", r"\1'"),
    )
)
CONTRACTED = tuple(
    (re.compile(rf"(?<![\w-]){pattern} "), replacement)
    for pattern, replacement in (
        ("([Dd])e le_", r"\1u "),
        ("([Dd])e les_", r"\1es "),
        ("à le_", "au "),
        ("à les_", "aux "),
        ("À le_", "Au "),
        ("À les_", "Aux "),
    )
)


def elided(text: str) -> str:
    """`l'ami`, `qu'il`, `d'un`."""
    return ELISION.sub(lambda found: found[1].rstrip("_")[:-1] + "'", text)


def spelled(text: str) -> str:
    """A sentence as it is written. Words are one space apart."""
    for pattern, replacement in REWRITTEN:
        text = pattern.sub(replacement, text)
    text = elided(text)
    for pattern, replacement in CONTRACTED:
        text = pattern.sub(replacement, text)
    return text.replace("_ ", " ")
