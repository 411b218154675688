"""French clauses: subject, verb, tense and negation agree.

A verb phrase stands in the rules with its verbs as `<se lever>`: infinitives, pronouns before them. It begins with one.
"""

import re
from collections.abc import Callable
from random import Random

from training.sentences.french import verbs
from training.sentences.french.groups import COMPOUND, SIMPLE, Group
from training.sentences.french.inflection import agreeing
from training.sentences.french.nouns import NounPhrases
from training.sentences.french.subjects import HE, ME, POLITE, PRONOUNS, REFLEXIVE, WE, YOU, Subject
from training.sentences.grammar import Rule, Slot

VERB = re.compile(r"<([^<>]+)>")
INDEFINITE = re.compile(r"\s*(?:un_|une_|des_|du_|dela_|de_) ")
COPULAS = ("être", "devenir", "rester", "paraître")
KINDS = {"person": 60, "name": 14, "animal": 8, "object": 9, "nature": 6, "group": 7}
"""How often each kind is the subject of a clause."""
TENSES = (*SIMPLE, *COMPOUND, "story", "near", "modal")
NEGATIONS = ("pas", "pas", "pas", "plus", "jamais")
BEING = {True: ("ont été", "avaient été", "furent"), False: ("a été", "avait été", "fut", "sera bientôt")}
"""Of a passive, by number."""


class Clauses(NounPhrases):
    """A grammar with slots for clauses, `c.<tense>`, and for verb phrases."""

    def __init__(self, rules: dict[str, Rule], random: Random) -> None:
        super().__init__(rules, random)
        self.slots |= {f"c.{tense}": self._clauses(tense) for tense in TENSES}
        self.slots |= {f"c.not_{tense}": self._clauses(tense, True) for tense in ("present", "perfect", "imperfect")}
        self.slots |= {
            f"do_{name}": self._infinitives(subject)
            for name, subject in {"i": ME, "you": YOU, "he": HE, "we": WE, "polite": POLITE}.items()
        }
        self.slots |= {
            "do": lambda kind: self._infinitive(self.subject, kind),
            "doing": lambda kind: self._each_bare(self._phrase_of(self.subject, kind), verbs.gerund),
            "done": self._done,
            "did": lambda words: self._finite(words, "perfect"),
            "does": lambda words: self._finite(words, "present"),
            "was_doing": lambda words: self._finite(words, "imperfect"),
            "order": self._order,
            "question": self._question,
            "is": self._described,
            "is_done": self._passive,
        }

    def _clauses(self, tense: str, negated: bool = False) -> Slot:
        return lambda kind: self.clause(tense, kind, negated)

    def _infinitives(self, subject: Subject) -> Slot:
        return lambda kind: self._infinitive(subject, kind)

    def clause(self, tense: str, kind: str = "", negated: bool = False) -> str:
        """A whole statement of this tense, its subject of this kind or of any."""
        subject = self._some_subject(kind or self.random.choices(list(KINDS), list(KINDS.values()))[0])
        negation = self.random.choice(NEGATIONS) if negated or self.chance(0.07) else ""
        # The simple past is not said of me or you.
        tense = "perfect" if tense == "story" and subject.person not in (2, 5) else tense
        return f"{subject.text} {self._predicate(subject, tense, negation)}"

    def _some_subject(self, kind: str) -> Subject:
        if kind == "person" and self.chance(0.5):
            return self.random.choice(PRONOUNS)
        if kind == "name":
            female = self.chance(0.5)
            return Subject(self.expand("{woman}" if female else "{man}"), female=female)
        if kind == "person" and self.chance(0.08):
            return Subject(self.expand("{everyone}"))
        phrase = self.phrase(kind)
        return Subject(phrase.text, kind, 5 if phrase.many else 2, phrase.female, phrase.many)

    def _predicate(self, subject: Subject, tense: str, negation: str = "", kind: str = "") -> str:
        first, rest = self._split(self._phrase_of(subject, kind))
        if negation and not first.endswith(COPULAS):
            rest = INDEFINITE.sub(" de ", rest, count=1) if INDEFINITE.match(rest) else rest
        adverb = self.pick("mid_adverb") if not negation and self.chance(0.1) else ""
        group = Group(first, subject, tense, self.random).said(negation, adverb)
        return f"{group} {VERB.sub(lambda found: Group(found[1], subject, tense, self.random).said(), rest)}"

    def _split(self, phrase: str) -> tuple[str, str]:
        """The first verb, and the phrase after it."""
        found = VERB.match(phrase)
        if found is None:
            raise ValueError(f"does not begin with a verb: {phrase}")
        return found[1], phrase[found.end() :]

    def _phrase_of(self, subject: Subject, kind: str = "") -> str:
        outer, self.subject = self.subject, subject
        phrase = self.expand(self.pick(f"do.{kind or subject.kind}"))
        self.subject = outer
        return phrase

    def _finite(self, words: str, tense: str) -> str:
        """A predicate whose subject stands before: `did:person`, `did:person f`, `did:person many`."""
        kind, *marks = words.split()
        many = "many" in marks
        return self._predicate(Subject("", kind, 5 if many else 2, "f" in marks, many), tense)

    def _infinitive(self, subject: Subject, kind: str) -> str:
        return self._each_bare(self._phrase_of(subject, kind or "person"), str, subject)

    def _each_bare(self, phrase: str, form: Callable[[str], str], subject: Subject | None = None) -> str:
        """The verbs in a form without person; a reflexive pronoun still has the subject's."""
        reflexive = REFLEXIVE[(subject or self.subject).person]

        def said(found: re.Match[str]) -> str:
            *pronouns, verb = found[1].split()
            return " ".join([*(reflexive if word == "se" else word for word in pronouns), form(verb)])

        return VERB.sub(said, phrase)

    def _plain_phrase(self, subject: Subject, kind: str) -> str:
        """A verb phrase whose verbs have no pronouns and go with avoir."""
        while True:
            phrase = self._phrase_of(subject, kind)
            if all(" " not in verb and verb not in verbs.WITH_ETRE for verb in VERB.findall(phrase)):
                return phrase

    def _done(self, kind: str) -> str:
        """`mangé une pomme`, to be put after avoir."""
        return VERB.sub(lambda found: verbs.participle(found[1]), self._plain_phrase(self.subject, kind))

    def _order(self, kind: str) -> str:
        """An imperative, to tu, nous or vous."""
        index = self.random.choice((0, 1, 2, 2))
        phrase = self._plain_phrase((YOU, WE, POLITE)[index], kind)
        return VERB.sub(lambda found: verbs.imperative(found[1])[index], phrase)

    def _question(self, tense: str) -> str:
        """`avez-vous vu la maison`: the pronoun after the verb, so not je."""
        subject = self.random.choice(PRONOUNS[2:])
        first, rest = self._split(self._phrase_of(subject))
        group = Group(first, subject, tense, self.random).asked()
        return group + VERB.sub(lambda found: Group(found[1], subject, tense, self.random).said(), rest)

    def _described(self, words: str) -> str:
        """`is:object imperfect être object_state`: kind, tense, verb and kind of adjective of a description."""
        kind, tense, verb, described = words.split()
        phrase = self.phrase(kind)
        subject = Subject(phrase.text, kind, 5 if phrase.many else 2, phrase.female, phrase.many)
        adjective = agreeing(self.pick(f"{described}_adj"), phrase.female, phrase.many)
        return f"{phrase.text} {Group(verb, subject, tense, self.random).said()} {adjective}"

    def _passive(self, words: str) -> str:
        """`is_done:object trouvé cassé`: the first word is a kind, the others participles."""
        kind, *participles = words.split()
        phrase = self.phrase(kind)
        done = agreeing(self.random.choice(participles), phrase.female, phrase.many)
        return f"{phrase.text} {self.random.choice(BEING[phrase.many])} {done}"
