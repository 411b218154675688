"""The sentences that the embedded model is trained with."""

import re
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from training.sentences import ALPHABET, LANGUAGES, MOST_WORDS, corpus, generate, numbers
from training.sentences.__main__ import main
from training.sentences.english import English, inflection
from training.sentences.english.subjects import HE, PRONOUNS, THEY
from training.sentences.french import verbs
from training.sentences.french.groups import Group
from training.sentences.french.inflection import agreeing, plural
from training.sentences.french.nouns import NounPhrases
from training.sentences.french.spelling import spelled
from training.sentences.french.subjects import PRONOUNS as FRENCH_PRONOUNS
from training.sentences.french.subjects import Subject
from training.sentences.grammar import Rule

SAMPLE = 4000


@pytest.fixture(scope="module")
def english() -> list[str]:
    return corpus("en", SAMPLE, 1)


@pytest.fixture(scope="module")
def french() -> list[str]:
    return corpus("fr", SAMPLE, 1)


@pytest.fixture(params=["en", "fr"])
def sentences(request: pytest.FixtureRequest, english: list[str], french: list[str]) -> list[str]:
    return english if request.param == "en" else french


def found(pattern: str, sentences: list[str]) -> list[str]:
    return [sentence for sentence in sentences if re.search(pattern, sentence)]


# The form of the text


def test_only_letters_and_four_marks(sentences: list[str]) -> None:
    """No digit, no symbol, nothing of the grammar's own marks."""
    assert [sentence for sentence in sentences if not ALPHABET.fullmatch(sentence)] == []


def test_a_sentence_begins_with_a_capital_and_ends_with_a_mark(sentences: list[str]) -> None:
    """Words are one space apart, marks stand at words."""
    form = re.compile(r"(?:[^\W\d_][\w'-]*[,.?!]? )*[^\W\d_][\w'-]*[.?!]")
    assert [sentence for sentence in sentences if not form.fullmatch(sentence) or not sentence[0].isupper()] == []


def test_sentences_are_short(sentences: list[str]) -> None:
    """One to 25 words, most of them 4 to 14."""
    lengths = [len(sentence.split()) for sentence in sentences]
    assert max(lengths) <= MOST_WORDS
    assert sum(4 <= length <= 14 for length in lengths) > 0.7 * len(lengths)


def test_vocabulary_is_wide(sentences: list[str]) -> None:
    """Thousands of words, even in few sentences."""
    words = {word for sentence in sentences for word in re.findall(r"\w+", sentence.lower())}
    assert len(words) > 3500


def test_questions_and_short_answers_are_among_them(sentences: list[str]) -> None:
    """Every way of speaking has its share."""
    assert len(found(r"\?$", sentences)) > 0.05 * SAMPLE
    assert len([sentence for sentence in sentences if len(sentence.split()) <= 3]) > 0.02 * SAMPLE


# Drawing


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_seed_decides(language: str) -> None:
    """The same seed gives the same sentences, another one others."""
    first = list(islice(generate(language, 7), 100))
    assert first == list(islice(generate(language, 7), 100))
    assert len(set(first) & set(islice(generate(language, 8), 100))) < 30


def test_a_corpus_has_no_repeats(sentences: list[str]) -> None:
    """As many different sentences as were asked for."""
    assert len(set(sentences)) == SAMPLE


def test_held_out_sentences_are_never_trained_with(tmp_path: Path) -> None:
    """Both files are half English, half French; no text stands in both."""
    main([str(tmp_path / "work"), "--train", "3000", "--held-out", "200"])
    rows = {
        name: [line.split("\t") for line in (tmp_path / "work" / f"{name}.tsv").read_text("utf-8").splitlines()]
        for name in ("train", "held-out")
    }
    for name, count in {"train": 3000, "held-out": 200}.items():
        assert len({text for _, text in rows[name]}) == count
        assert sorted(language for language, _ in rows[name]) == ["en"] * (count // 2) + ["fr"] * (count // 2)
    assert {text for _, text in rows["train"]} & {text for _, text in rows["held-out"]} == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_alternative_of_every_rule_can_be_said(language: str) -> None:
    """No rule names another that does not exist."""
    grammar = LANGUAGES[language](Random(1))
    for name, rule in grammar.rules.items():
        for choice in rule.choices:
            assert not re.search(r"[{}()|]", grammar.expand(choice)), (name, choice)


# English


@pytest.mark.parametrize(
    ("verb", "forms"),
    [
        ("go", "goes went gone going"),
        ("carry", "carries carried carried carrying"),
        ("stop", "stops stopped stopped stopping"),
        ("lie", "lies lay lain lying"),
        ("have", "has had had having"),
        ("agree", "agrees agreed agreed agreeing"),
        ("watch", "watches watched watched watching"),
        ("describe", "describes described described describing"),
        ("be", "is was been being"),
    ],
)
def test_english_verbs(verb: str, forms: str) -> None:
    """Third person, past, participle and -ing form."""
    wanted = [inflection.form_of(verb, form, HE) for form in ("present", "past", "participle", "ing")]
    assert wanted == forms.split()


def test_english_subjects_and_verbs_agree(english: list[str]) -> None:
    """Pronouns with the forms of be, have and do."""
    wrong = (
        r"(?i)\b(he|she|it) (are|were|have|do|don't|am)\b|\b(they|we) (is|was|has|does|doesn't|am)\b|\bI (is|are|has)\b"
    )
    after = r"(?i)^(he|she|it|they|we|I) "
    assert found(wrong, found(after, english)) == []


def test_english_articles(english: list[str]) -> None:
    """`an` before a vowel that is heard."""
    assert inflection.with_articles("a hour, a useful a apple, a one, a S") == "an hour, a useful an apple, a one, an S"
    assert found(r"\ba [aeio](?!ne\b|nce\b|ne-)|\ban [bcdfgjklmnpqrstvwxyz]", english) == []


def test_english_negation_and_question() -> None:
    """Do, did and the copula."""
    grammar = English(Random(1))
    grammar.rules["do.person"].choices[:] = ["<be> late"] * len(grammar.rules["do.person"].choices)
    said = {" ".join(grammar.clause("not_past", "person").split()) for _ in range(50)}
    assert all(re.search(r" (wasn't|was not|weren't|were not) late$", sentence) for sentence in said)
    assert inflection.be(THEY, "past") == "were"
    assert [inflection.be(pronoun, "present") for pronoun in PRONOUNS] == ["am", "are", "is", "is", "are", "are"]


# French


@pytest.mark.parametrize(
    ("verb", "forms"),
    [
        ("aller", "vas irons allais aille allèrent allé"),
        ("manger", "manges mangerons mangeais mange mangèrent mangé"),
        ("commencer", "commences commencerons commençais commence commencèrent commencé"),
        ("appeler", "appelles appellerons appelais appelle appelèrent appelé"),
        ("acheter", "achètes achèterons achetais achète achetèrent acheté"),
        ("préférer", "préfères préférerons préférais préfère préférèrent préféré"),
        ("envoyer", "envoies enverrons envoyais envoie envoyèrent envoyé"),
        ("finir", "finis finirons finissais finisse finirent fini"),
        ("attendre", "attends attendrons attendais attende attendirent attendu"),
        ("construire", "construis construirons construisais construise construisirent construit"),
        ("apercevoir", "aperçois apercevrons apercevais aperçoive aperçurent aperçu"),
        ("craindre", "crains craindrons craignais craigne craignirent craint"),
        ("devenir", "deviens deviendrons devenais devienne devinrent devenu"),
    ],
)
def test_french_verbs(verb: str, forms: str) -> None:
    """Present of tu, future of nous, imperfect and subjunctive of je, simple past of ils, participle."""
    assert [
        verbs.present(verb)[1],
        verbs.future(verb)[3],
        verbs.imperfect(verb)[0],
        verbs.subjunctive(verb)[0],
        verbs.simple_past(verb)[1],
        verbs.participle(verb),
    ] == forms.split()


@pytest.mark.parametrize(
    ("words", "tense", "person", "negation", "said"),
    [
        ("se lever", "perfect", 4, "", "elle s'est levée"),
        ("se lever", "perfect", 9, "jamais", "elles ne se sont jamais levées"),
        ("aimer", "present", 0, "pas", "je n'aime pas"),
        ("se laver", "near", 6, "", "nous allons nous laver"),
        ("partir", "story", 8, "", "ils partirent"),
    ],
)
def test_french_verb_groups(words: str, tense: str, person: int, negation: str, said: str) -> None:
    """Pronouns, auxiliary, negation and participle in their places, agreeing with the subject."""
    subject = FRENCH_PRONOUNS[person]
    group = Group(words, subject, tense, Random(1)).said(negation)
    assert spelled(" ".join(f"{subject.text} {group}".split())) == said


def test_french_questions() -> None:
    """A t stands between two vowels."""
    assert Group("parler", Subject("il"), "present", Random(1)).asked().strip() == "parle-t-il"
    assert Group("se lever", Subject("on"), "perfect", Random(1)).asked().strip() == "se est-on levé"
    assert Group("prendre", Subject("elle"), "present", Random(1)).asked().strip() == "prend-elle"


@pytest.mark.parametrize(
    ("masculine", "forms"),
    [
        ("beau", "belle beaux belles"),
        ("heureux", "heureuse heureux heureuses"),
        ("national", "nationale nationaux nationales"),
        ("premier", "première premiers premières"),
        ("ancien", "ancienne anciens anciennes"),
        ("fatigué", "fatiguée fatigués fatiguées"),
    ],
)
def test_french_adjectives(masculine: str, forms: str) -> None:
    """Feminine, plural, feminine plural."""
    assert [agreeing(masculine, *marks) for marks in ((True, False), (False, True), (True, True))] == forms.split()


def test_french_plurals_of_several_words() -> None:
    """All nouns and adjectives, but nothing after a preposition."""
    assert [plural(word) for word in ("pomme de terre", "raton laveur", "œil", "cheval")] == [
        "pommes de terre",
        "ratons laveurs",
        "yeux",
        "chevaux",
    ]


@pytest.mark.parametrize(
    ("marked", "said"),
    [
        ("à le_ port de le_ ami de les_ îles", "au port de l'ami des îles"),
        ("je ai envie de le voir", "j'ai envie de le voir"),
        ("ce_ arbre et ma amie", "cet arbre et mon amie"),
        ("besoin de des_ outils, pas de dela_ eau", "besoin d'outils, pas d'eau"),
        ("dela_ eau et du_ pain et du_ argent", "de l'eau et du pain et de l'argent"),
        ("le_ héros que il voit, si il vient", "le héros qu'il voit, s'il vient"),
    ],
)
def test_french_words_meet(marked: str, said: str) -> None:
    """Elision, contraction, possessives; only articles contract."""
    assert spelled(marked) == said


def test_french_spelling_in_sentences(french: list[str]) -> None:
    """Nothing is left to elide or to contract."""
    vowel = "[aeiouéèêâîôœ]"
    assert found(rf"(?i)(?<![\w-])(je|ne|que|me|te|se|de|la) (?!onz|oui|ouist){vowel}", french) == []
    assert found(r"(?i)(?<![\w-])(de les|à les|ma [aeiouéè]\w+|ta [aeiouéè]\w+|sa [aeiouéè]\w+) ", french) == []


def test_french_noun_phrases_agree() -> None:
    """Article, adjective and noun have one gender and number; some adjectives change before a vowel."""
    words = {"x.m": ["ami"], "x.f": ["amie"], "x_adj": ["^vieux", "gentil"], "article.un": ["un_", "une_", "des_"]}
    grammar = NounPhrases({name: Rule(choices, [1] * len(choices)) for name, choices in words.items()}, Random(1))
    one, many = ({spelled(grammar.phrase("x", plural, "un").text) for _ in range(200)} for plural in (False, True))
    assert one == {"un ami", "une amie", "un vieil ami", "une vieille amie", "un ami gentil", "une amie gentille"}
    assert many == {
        "des amis",
        "des amies",
        "de vieux amis",
        "de vieilles amies",
        "des amis gentils",
        "des amies gentilles",
    }


# Numbers


@pytest.mark.parametrize(
    ("number", "english", "french"),
    [
        (0, "zero", "zéro"),
        (21, "twenty-one", "vingt et un"),
        (71, "seventy-one", "soixante et onze"),
        (80, "eighty", "quatre-vingts"),
        (91, "ninety-one", "quatre-vingt-onze"),
        (200, "two hundred", "deux cents"),
        (305, "three hundred and five", "trois cent cinq"),
        (1001, "one thousand and one", "mille un"),
        (80_200, "eighty thousand two hundred", "quatre-vingt mille deux cents"),
        (203_000, "two hundred and three thousand", "deux cent trois mille"),
    ],
)
def test_numbers(number: int, english: str, french: str) -> None:
    """In words, in both languages."""
    assert (numbers.english(number), numbers.french(number)) == (english, french)


def test_numbers_of_other_kinds() -> None:
    """Ordinals, years, and one with a feminine noun."""
    ordinals = [numbers.english_ordinal(number) for number in (1, 12, 20, 31)]
    assert ordinals == ["first", "twelfth", "twentieth", "thirty-first"]
    assert [numbers.english_year(year) for year in (1905, 1984, 2000, 2007, 2019)] == [
        "nineteen oh five",
        "nineteen eighty-four",
        "two thousand",
        "two thousand and seven",
        "twenty nineteen",
    ]
    assert numbers.french(21, feminine=True) == "vingt et une"
