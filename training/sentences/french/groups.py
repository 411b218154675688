"""The French verb group: pronouns, auxiliary, negation, adverb, participle, in their order."""

from dataclasses import dataclass
from random import Random

from training.sentences.french import verbs
from training.sentences.french.inflection import agreeing
from training.sentences.french.subjects import REFLEXIVE, Subject

SIMPLE = {
    "present": verbs.present,
    "imperfect": verbs.imperfect,
    "future": verbs.future,
    "would": verbs.conditional,
    "subjunctive": verbs.subjunctive,
}
COMPOUND = {"perfect": verbs.present, "pluperfect": verbs.imperfect, "would_have": verbs.conditional}
"""Tenses of a participle after a form of avoir or être."""
MODALS = ("pouvoir", "devoir", "vouloir")


@dataclass(frozen=True, slots=True)
class Group:
    """A verb with its pronouns, to be said of a subject in a tense."""

    words: str
    """`se lever`"""
    subject: Subject
    tense: str
    """One of the simple and compound tenses, `story` (simple past), `near` (aller) or `modal`."""
    random: Random

    def said(self, negation: str = "", adverb: str = "") -> str:
        """`ne se lèvera jamais`, `ne s'est jamais levé`, `s'est souvent levé`."""
        before, form, after = self._parts()
        not_ = "ne" if negation else ""
        if self.tense in ("near", "modal"):
            return f"{not_} {before} {form} {negation} {after} {adverb}"
        return f"{not_} {before} {form} {negation} {adverb} {after}"

    def asked(self) -> str:
        """`se lève-t-il`, `s'est-il levé`."""
        before, form, after = self._parts()
        link = "-t-" if form[-1] in "aec" and self.subject.text[0] in "ieo" else "-"
        return f"{before} {form}{link}{self.subject.text} {after}"

    def _parts(self) -> tuple[str, str, str]:
        """Pronouns, the form that has the person, and the infinitive or participle after it."""
        *pronouns, verb = self.words.split()
        person = self.subject.person
        before = " ".join(REFLEXIVE[person] if pronoun == "se" else pronoun for pronoun in pronouns)
        if self.tense in SIMPLE:
            return before, SIMPLE[self.tense](verb)[person], ""
        if self.tense == "story":
            return before, verbs.simple_past(verb)[person == 5], ""
        if self.tense in COMPOUND:
            return before, *self._compound(verb, "se" in pronouns)
        helper = "aller" if self.tense == "near" else self.random.choice(MODALS)
        tense = verbs.conditional if self.tense == "modal" and self.random.random() < 0.3 else verbs.present
        return "", tense(helper)[person], f"{before} {verb}"

    def _compound(self, verb: str, reflexive: bool) -> tuple[str, str]:
        with_etre = reflexive or verb in verbs.WITH_ETRE
        done = verbs.participle(verb)
        if with_etre:
            done = agreeing(done, self.subject.female, self.subject.many)
        return COMPOUND[self.tense]("être" if with_etre else "avoir")[self.subject.person], done
