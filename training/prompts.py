"""The published texts of Asterisk's prompts, brought into the form a recogniser should write.

The lists hold `file: text` a line, written by many hands: digits, signs, missing accents, stage directions.
"""

import gzip
import re
from pathlib import Path

from training.sentences.numbers import ENGLISH, FRENCH

UNSURE = re.compile(
    r"silence/|spy-|letters/ascii|confbridge-(join|leave)$|vm-Cust|digits/[ap]-m|digits/h-80|phonetic/x_p|-binaural-"
    r"|vm-(options|opts-full|record-prepend|review-(non)?urgent)$|(priv|screen)-callee|dir-multi3|demo-moreinfo"
    r"|unidentified-no-callback|vm-mailboxfull|queue-(quantity2|callswaiting)"
)
"""Prompts whose sound the text does not tell: tones, names of protocols, options that are read in an unknown way."""

_SIGNS = {"en": {"*": "star", "#": "pound"}, "fr": {"*": "étoile", "#": "dièse"}}
_DIGITS = {"en": ENGLISH, "fr": FRENCH}

_MENDED: dict[str, tuple[tuple[str, str], ...]] = {
    "en": (
        ("fourtieth", "fortieth"),
        ("umute", "unmute"),
        ("represenatives", "representatives"),
        ("thru", "through"),
        ("Call-Forward on No Answer", "Call forward on no answer"),
        ("Call-Forward on Busy", "Call forward on busy"),
        ("Call-Forward Unconditional", "Call forward unconditional"),
        ("Invalid Choice", "Invalid choice"),
        ("Agent Logged off", "Agent logged off"),
        ("exclaimation-point", "exclamation point"),
        ("Speed-dial", "Speed dial"),
        ("De-activated", "Deactivated"),
        (r"\bi\b", "I"),
        (r"\bpin\b", "PIN"),
        ("Open Source", "open source"),
        ("linux", "Linux"),
    ),
    "fr": (
        (r"\b([Vv]euillez|pouvez|tentez de|[Vv]ous désirez) (\w+)ez\b", r"\1 \2er"),
        (r"\b(dé)?[vV][ée]r+ouill", r"\1verrouill"),
        ("dévérouill", "déverrouill"),
        ("presentemnet|présentemnet|presentement", "présentement"),
        ("premieres", "premières"),
        ("reessayer", "réessayer"),
        ("occupes", "occupés"),
        (r"\betes\b", "êtes"),
        (r"\betre\b", "être"),
        ("n'etes", "n'êtes"),
        ("etait", "était"),
        ("Enleve$", "Enlevé"),
        ("simultane a ete", "simultané a été"),
        (r"Nous somme desol[ée]", "Nous sommes désolés"),
        ("Desole", "Désolé"),
        ("abregée que vous avez accédez", "abrégée que vous avez accédée"),
        ("abregée", "abrégée"),
        ("Telephoner", "Téléphoner"),
        ("[Nn]umero de telephone", "numéro de téléphone"),
        ("numero", "numéro"),
        ("l'ecouter", "l'écouter"),
        (r"\b[rR][eé]-enregistrer", "réenregistrer"),
        ("^A l'", "À l'"),
        (r"\bboite", "boîte"),
        ("^Felicitation,", "Félicitations,"),
        ("connection", "connexion"),
        ("^Aurevoir", "Au revoir"),
        ("^Allo$", "Allô"),
        ("appellant", "appelant"),
        ("acceuil", "accueil"),
        ("status d'urgent|status urgent", "statut urgent"),
        ("Mise a jour", "Mise à jour"),
        (r"\ba (nouveau|partir)", r"à \1"),
        ("étez", "été"),
        ("ce tte", "cette"),
        ("options avancés", "options avancées"),
        ("j'établi la", "j'établis la"),
        ("j'essai de", "j'essaie de"),
        ("démontration", "démonstration"),
        ("mots de passes", "mots de passe"),
        ("ont étés", "ont été"),
        ("s'il-vous-plaît", "s'il vous plaît"),
        ("l'arrivé du", "l'arrivée du"),
        ("votre votre", "votre"),
        ("vous avez entrer", "vous avez entré"),
        ("Vous avez entrer", "Vous avez entré"),
        ("seul les", "seuls les"),
        ("seixième", "seizième"),
        (r"\barobas\b", "arobase"),
        ("barre-oblique", "barre oblique"),
        ("d'accueil - temporaire -", "d'accueil temporaire"),
        ("Si c'est exact appuyer", "Si c'est exact, appuyez"),
        ("indiquant que vous êtes occupés", "indiquant que vous êtes occupé"),
        ("répétér", "répéter"),
        ("tel qu'entendue", "telle qu'entendue"),
        (r"\b(annuler ce message|répondre|du prénom|le dièse|lettre Z), appuyer\b", r"\1, appuyez"),
        (r"\bet appuyer sur dièse", "et appuyez sur dièse"),
        ("des information ", "des informations "),
        ("d'appel échoué", "d'appel échouée"),
        ("^quatre-vingt$", "quatre-vingts"),
    ),
}


def texts(listing: Path, language: str) -> dict[str, str]:
    """What is said in each file of a list, by its name without suffix; only what can be told for sure."""
    found: dict[str, str] = {}
    for line in gzip.decompress(listing.read_bytes()).decode().splitlines():
        name, colon, said = line.partition(":")
        text = clean(said, language, letters=name.startswith("letters/")) if colon else None
        if text and not UNSURE.search(name):
            found[name] = text
    return found


def clean(text: str, language: str, *, letters: bool = False) -> str | None:
    """As it should be written; nothing if it holds a stage direction or a number of several digits."""
    if letters:
        text = re.sub(r"\[.*\]", "", text)
    if re.search(r"[\[\](){}<>@]|www|\d\d|\d\.\d|3D", text):
        return None
    for sign, word in _SIGNS[language].items():
        text = text.replace(sign, word)
    text = re.sub(r"\d", lambda digit: f" {_DIGITS[language][int(digit.group())]} ", text)
    text = re.sub(r"\.{2,}|…", " ", text).replace("’", "'")
    text = re.sub('["“”]', "", text)
    text = re.sub(r"\s*[;:]\s*", ", ", text)
    text = re.sub(r"\s+", " ", re.sub(r"\s+([.,?!])", r"\1", text)).strip(" ,-")
    for wrong, right in _MENDED[language]:
        text = re.sub(wrong, right, text)
    text = re.sub(r"(?<=[.?!]) ?([a-zà-ÿ])", lambda start: " " + start.group(1).upper(), text)
    if letters and len(text) == 1:
        return text.upper() + "."
    return _sentence(text)


def _sentence(text: str) -> str | None:
    if not text:
        return None
    return text[0].upper() + text[1:] + ("" if text[-1] in ".?!" else ".")
