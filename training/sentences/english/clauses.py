"""English clauses: subject, verb and tense agree.

A verb phrase stands in the rules with its verbs as `<verb>`; it begins with one. The first takes the auxiliary.
"""

import re
from random import Random

from training.sentences.english.inflection import be, form_of
from training.sentences.english.nouns import NounPhrases
from training.sentences.english.subjects import HE, PRONOUNS, SHE, THEY, Subject, he_or_she
from training.sentences.grammar import Rule, Slot

VERB = re.compile(r"<(\w+)>")
MODALS = ("can", "could", "must", "should", "may", "might")
KINDS = {"person": 60, "name": 14, "animal": 8, "object": 9, "nature": 6, "group": 7}
"""How often each kind is the subject of a clause."""
TENSES = {
    "past": ("did", "base"),
    "present": ("do", "base"),
    "future": ("will", "base"),
    "would": ("would", "base"),
    "perfect": ("have", "participle"),
    "pluperfect": ("had", "participle"),
    "progressive": ("be", "ing"),
    "was_doing": ("was", "ing"),
}
"""Tense: its auxiliary (past and present have one only in questions and negations), the form after it."""
SHORT = {"will": "'ll", "would": "'d", "had": "'d", "have": "'ve", "has": "'s", "am": "'m", "are": "'re", "is": "'s"}
LONG_NOT = ("am", "will", "can", "may", "might", "must")
"""No `n't` after these, which is not said or changes them."""


class Clauses(NounPhrases):
    """A grammar with slots for clauses, named after their tenses, and for verb phrases."""

    def __init__(self, rules: dict[str, Rule], random: Random) -> None:
        super().__init__(rules, random)
        self.slots |= {
            "do": lambda kind: self._verb_phrase(kind, "base"),
            "doing": lambda kind: self._verb_phrase(kind, "ing"),
            "done": lambda kind: self._verb_phrase(kind, "participle"),
            "did": lambda kind: self._verb_phrase(kind, "past", self.random.choice((HE, SHE))),
            "did_all": lambda kind: self._verb_phrase(kind, "past", THEY),
            "does": lambda kind: self._verb_phrase(kind, "present", self.random.choice((HE, SHE))),
            "question": self._question,
        }
        self.slots |= {tense: self._clauses(tense) for tense in (*TENSES, "modal", "not_past", "not_present")}

    def _clauses(self, tense: str) -> Slot:
        return lambda kind: self.clause(tense, kind)

    def clause(self, tense: str, kind: str = "") -> str:
        """A whole statement of this tense, its subject of this kind or of any."""
        subject = self._some_subject(kind or self.random.choices(list(KINDS), list(KINDS.values()))[0])
        negated = tense.startswith("not_") or (tense not in ("perfect", "pluperfect") and self.chance(0.08))
        auxiliary, verb, rest = self._verb(subject, tense.removeprefix("not_"), negated)
        adverb = self.pick("mid_adverb") if not negated and self.chance(0.1) else ""
        return f"{self._begun(subject, auxiliary, negated)} {adverb} {verb} {rest}"

    def _question(self, tense: str) -> str:
        """`did the old man open the door`: to be put after a question word, or first."""
        subject = self._some_subject(self.random.choice(("person", "person", "name", "group")))
        auxiliary, verb, rest = self._verb(subject, tense, True)
        return f"{auxiliary} {subject.text} {verb} {rest}"

    def _some_subject(self, kind: str) -> Subject:
        if kind == "person" and self.chance(0.55):
            return self.random.choice(PRONOUNS)
        if kind == "name":
            name, pronoun = self.random.choice((("{man}", HE), ("{woman}", SHE)))
            return Subject(self.expand(name), own=pronoun.own, self=pronoun.self)
        if kind == "person" and self.chance(0.1):
            return Subject(self.expand("{everyone}"), own=THEY.own, self=THEY.self)
        text, plural = self.phrase(kind)
        if plural:
            return Subject(text, kind, plural=True, own=THEY.own, self=THEY.self)
        if kind != "person":
            return Subject(text, kind)
        pronoun = he_or_she(text, self.random.choice((HE, SHE)))
        return Subject(text, own=pronoun.own, self=pronoun.self)

    def _begun(self, subject: Subject, auxiliary: str, negated: bool) -> str:
        """Subject and auxiliary: `he didn't`, `she'll`, `the man had`."""
        if negated and auxiliary not in LONG_NOT and self.chance(0.6):
            return f"{subject.text} {auxiliary}n't"
        if negated:
            return f"{subject.text} {auxiliary} not"
        if subject in PRONOUNS and auxiliary in SHORT and self.chance(0.35):
            return subject.text + SHORT[auxiliary]
        return f"{subject.text} {auxiliary}"

    def _verb(self, subject: Subject, tense: str, support: bool) -> tuple[str, str, str]:
        """Auxiliary, verb and what follows; with `support` there is always an auxiliary."""
        phrase = self._phrase_of(subject)
        head = VERB.match(phrase)
        if head is None:
            raise ValueError(f"does not begin with a verb: {phrase}")
        auxiliary, form = self._auxiliary(subject, tense, support, head[1] == "be")
        rest = VERB.sub(lambda found: form_of(found[1], form, subject), phrase[head.end() :])
        # An auxiliary in a simple tense is the copula itself.
        verb = "" if auxiliary and form in ("present", "past") else form_of(head[1], form, subject)
        return auxiliary, verb, rest

    def _auxiliary(self, subject: Subject, tense: str, support: bool, copula: bool) -> tuple[str, str]:
        """The auxiliary, or nothing, and the form of the verb after it. A copula is its own auxiliary."""
        if tense == "modal":
            return self.random.choice(MODALS), "base"
        if copula and tense in ("present", "past", "progressive", "was_doing"):
            plain = "past" if tense in ("past", "was_doing") else "present"
            return be(subject, plain), plain
        auxiliary, form = TENSES[tense]
        if tense in ("past", "present") and not support:
            return "", tense
        if auxiliary in ("be", "was"):
            return be(subject, "past" if auxiliary == "was" else "present"), form
        return (form_of(auxiliary, "present", subject) if auxiliary in ("do", "have") else auxiliary), form

    def _verb_phrase(self, kind: str, form: str, subject: Subject | None = None) -> str:
        """Without its subject, which is somewhere else in the sentence."""
        phrase = self._phrase_of(subject or self.subject, kind or "person")
        return VERB.sub(lambda found: form_of(found[1], form, subject or self.subject), phrase)

    def _phrase_of(self, subject: Subject, kind: str = "") -> str:
        outer, self.subject = self.subject, subject
        phrase = self.expand(self.pick(f"do.{kind or subject.kind}"))
        self.subject = outer
        return phrase
