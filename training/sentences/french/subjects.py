"""Who or what does it, and what the rest of a French sentence must know of that."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a clause."""

    text: str
    kind: str = "person"
    """Says what it may do: the rule `do.<kind>` holds its verb phrases."""
    person: int = 2
    """0 to 5: je, tu, il, nous, vous, ils."""
    female: bool = False
    many: bool = False
    """Whether adjectives and participles are plural; not so for a polite `vous`."""


PRONOUNS = (
    Subject("je", person=0),
    Subject("je", person=0, female=True),
    Subject("tu", person=1),
    Subject("il"),
    Subject("elle", female=True),
    Subject("on"),
    Subject("nous", person=3, many=True),
    Subject("vous", person=4),
    Subject("ils", person=5, many=True),
    Subject("elles", person=5, female=True, many=True),
)
ME, YOU, HE, WE, POLITE = PRONOUNS[0], PRONOUNS[2], PRONOUNS[3], PRONOUNS[6], PRONOUNS[7]
REFLEXIVE = ("me", "te", "se", "nous", "vous", "se")
"""By person."""
OWN = (
    ("mon", "ma", "mes"),
    ("ton", "ta", "tes"),
    ("son", "sa", "ses"),
    ("notre", "notre", "nos"),
    ("votre", "votre", "vos"),
    ("leur", "leur", "leurs"),
)
"""By person: masculine, feminine, plural."""
