"""Numbers in words, as they are written without digits."""

ENGLISH = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
ENGLISH_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
"""The irregular ones."""
FRENCH = (
    *("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix", "onze", "douze", "treize"),
    *("quatorze", "quinze", "seize", "dix-sept", "dix-huit", "dix-neuf"),
)
FRENCH_TENS = (
    "",
    "",
    "vingt",
    "trente",
    "quarante",
    "cinquante",
    "soixante",
    "soixante",
    "quatre-vingt",
    "quatre-vingt",
)


def english(number: int) -> str:
    """0 to 999,999, with the British `and`."""
    if number < 20:
        return ENGLISH[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return ENGLISH_TENS[tens] + (f"-{ENGLISH[ones]}" if ones else "")
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        return f"{ENGLISH[hundreds]} hundred" + (f" and {english(rest)}" if rest else "")
    thousands, rest = divmod(number, 1000)
    tail = f" {'and ' if rest < 100 else ''}{english(rest)}" if rest else ""
    return f"{english(thousands)} thousand{tail}"


def english_ordinal(number: int) -> str:
    """1 to 99: `twenty-first`."""
    *head, last = english(number).split("-")
    regular = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return "-".join([*head, ORDINALS.get(last, regular)])


def english_year(year: int) -> str:
    """1100 to 2099: `nineteen eighty-four`, `nineteen oh five`, `two thousand and nine`."""
    if 2000 <= year < 2010:
        return english(year)
    century, rest = divmod(year, 100)
    if rest == 0:
        return f"{english(century)} hundred"
    return f"{english(century)} {'oh ' if rest < 10 else ''}{english(rest)}"


def french(number: int, feminine: bool = False) -> str:
    """0 to 999,999, hyphens as before the reform of 1990."""
    said = _french(number)
    return said + "e" if feminine and said.endswith("un") else said


def _french(number: int) -> str:
    if number < 20:
        return FRENCH[number]
    if number < 100:
        return _french_tens(number)
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        head = "cent" if hundreds == 1 else f"{FRENCH[hundreds]} cent{'' if rest else 's'}"
        return head + (f" {_french(rest)}" if rest else "")
    thousands, rest = divmod(number, 1000)
    # No plural s before `mille`: `deux cent mille`, `quatre-vingt mille`.
    count = (
        _french(thousands).removesuffix("s") if thousands >= 80 and thousands % 100 in (0, 80) else _french(thousands)
    )
    head = "mille" if thousands == 1 else f"{count} mille"
    return head + (f" {_french(rest)}" if rest else "")


def _french_tens(number: int) -> str:
    if number == 80:
        return "quatre-vingts"
    tens, ones = divmod(number, 10)
    if tens in (7, 9):
        ones += 10
    if ones in (1, 11) and tens < 8:
        return f"{FRENCH_TENS[tens]} et {FRENCH[ones]}"
    return FRENCH_TENS[tens] + (f"-{FRENCH[ones]}" if ones else "")
