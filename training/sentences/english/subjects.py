"""Who or what does it, and what the rest of an English sentence must know of that."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a clause."""

    text: str
    kind: str = "person"
    """Says what it may do: the rule `do.<kind>` holds its verb phrases."""
    person: int = 3
    plural: bool = False
    own: str = "its"
    """Its possessive."""
    self: str = "itself"
    """Its reflexive pronoun."""


PRONOUNS = (
    Subject("I", person=1, own="my", self="myself"),
    Subject("you", person=2, plural=True, own="your", self="yourself"),
    Subject("he", own="his", self="himself"),
    Subject("she", own="her", self="herself"),
    Subject("we", person=1, plural=True, own="our", self="ourselves"),
    Subject("they", plural=True, own="their", self="themselves"),
)
HE, SHE, THEY = PRONOUNS[2], PRONOUNS[3], PRONOUNS[5]
NOBODY = Subject("", own="the", self="everyone")
"""Stands in where a verb phrase has no subject: `Please wash the hands.`"""

MEN = re.compile(
    r"\b(man|policeman|fireman|postman|fisherman|boy|king|son|father|gentleman|prince|uncle|brother|husband|monk|priest|"
    r"nephew|grandfather|actor|waiter|wizard|knight|landlord)\b"
)
WOMEN = re.compile(
    r"\b(woman|girl|queen|lady|mother|princess|aunt|sister|wife|actress|waitress|daughter|niece|grandmother|widow)\b"
)


def he_or_she(text: str, otherwise: Subject) -> Subject:
    """The pronoun for a person."""
    if MEN.search(text):
        return HE
    return SHE if WOMEN.search(text) else otherwise
