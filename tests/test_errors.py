"""The tree of errors."""

import pickle

from stt_server import errors
from stt_server.errors import SttError


def tree(root: type[SttError] = SttError) -> list[type[SttError]]:
    """The classes of the module; a part may have private ones below them, for itself."""
    found = [root, *(cls for child in root.__subclasses__() for cls in tree(child))]
    return [cls for cls in found if cls.__module__ == errors.__name__]


def test_every_code_is_unique() -> None:
    """A caller can tell errors apart by their code."""
    codes = [cls.code for cls in tree()]
    assert len(codes) == len(set(codes))
    assert all("code" in vars(cls) for cls in tree())


def test_the_docstring_is_the_message() -> None:
    """Each class has a default message that is a sentence."""
    for cls in tree():
        assert cls().message.endswith("."), cls
        assert cls("other").message == "other"


def test_errors_travel_between_processes() -> None:
    """What a child raises arrives whole."""
    for cls in tree():
        copy = pickle.loads(pickle.dumps(cls("why", param="file")))
        assert (type(copy), copy.message, copy.param) == (cls, "why", "file")


def test_errors_are_all_in_the_tree() -> None:
    """The module holds nothing else."""
    assert {name for name, value in vars(errors).items() if isinstance(value, type)} == {c.__name__ for c in tree()}
