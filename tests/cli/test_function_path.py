"""MODULE:FUNCTION, as typed by a person, to the function."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coeval.cli._function_path import NoSuchFunction, find_function


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def message_of(text: str) -> str:
    with pytest.raises(NoSuchFunction) as caught:
        find_function(text)
    return str(caught.value)


def test_a_module_of_the_current_directory_is_found() -> None:
    Path("counting.py").write_text("def count(text): return len(text)\n")
    assert find_function("counting:count")("four") == 4


def test_the_current_directory_comes_before_everything_else() -> None:
    Path("textwrap.py").write_text("def dedent(text): return 'mine'\n")
    sys.modules.pop("textwrap", None)
    assert find_function("textwrap:dedent")("  x") == "mine"


def test_an_installed_module_and_a_dotted_function_are_found() -> None:
    assert find_function("json:loads")("[1]") == [1]
    assert find_function("collections:OrderedDict.fromkeys")("ab") == {"a": None, "b": None}


def test_a_path_is_imported_under_its_stem_so_that_workers_can_do_the_same() -> None:
    Path("tools").mkdir()
    Path("tools/measuring.py").write_text("from beside import size\ndef measure(text): return size\n")
    Path("tools/beside.py").write_text("size = 7\n")
    function = find_function("tools/measuring.py:measure")
    assert function("x") == 7
    assert function.__module__ == "measuring"
    assert sys.path[0] == str(Path("tools").resolve())


@pytest.mark.parametrize("text", ["survey", "survey:", ":measure", ""])
def test_what_is_not_written_like_it_is_told_how_it_is_written(text: str) -> None:
    assert "expected MODULE:FUNCTION, such as survey:measure" in message_of(text)


def test_a_module_that_is_not_there_is_named_with_the_nearest_file_and_where_was_looked() -> None:
    Path("survey.py").write_text("")
    message = message_of("survy:measure")
    assert "there is no module 'survy'; did you mean survey (survey.py)?" in message
    assert str(Path.cwd()) in message.splitlines()[2]


def test_a_module_missing_in_a_package_is_looked_for_in_that_package() -> None:
    Path("pack").mkdir()
    Path("pack/__init__.py").write_text("")
    Path("pack/survey.py").write_text("")
    assert "there is no module 'pack.survy'; did you mean pack.survey (pack/survey.py)?" in message_of("pack.survy:f")


def test_a_file_that_is_not_there_is_named_with_the_nearest_ones() -> None:
    Path("survey.py").write_text("")
    assert message_of("survy.py:f") == "there is no file 'survy.py'; did you mean survey.py?"


def test_a_missing_function_is_named_with_the_nearest_ones() -> None:
    Path("shapes.py").write_text("class Circle:\n    def area(self): pass\ndef measure(x): pass\n")
    assert message_of("shapes:mesure") == "shapes has no 'mesure'; did you mean measure?"
    assert message_of("shapes:Circle.aera") == "shapes.Circle has no 'aera'; did you mean area?"


def test_what_cannot_be_called_is_refused_by_its_type() -> None:
    Path("limits.py").write_text("LIMIT = 3\n")
    assert message_of("limits:LIMIT") == "limits:LIMIT is an int; expected a function"


@pytest.mark.parametrize("text", ["broken:f", "broken.py:f"])
def test_an_import_that_fails_shows_the_users_own_traceback_and_nothing_else(text: str) -> None:
    Path("broken.py").write_text("def helper():\n    return 1 / 0\nhelper()\n")
    message = message_of(text)
    assert message.startswith("broken cannot be imported:\nTraceback")
    assert "ZeroDivisionError: division by zero" in message
    assert message.count('File "') == 2
    assert "_function_path" not in message and "importlib" not in message


@pytest.mark.parametrize("text", ["needy:f", "needy.py:f"])
def test_a_module_whose_own_import_is_missing_is_not_taken_for_missing_itself(text: str) -> None:
    Path("needy.py").write_text("import not_there_at_all\n")
    message = message_of(text)
    assert message.startswith("needy cannot be imported:")
    assert "needy.py" in message and "No module named 'not_there_at_all'" in message


def test_a_module_that_exits_while_it_is_imported_does_not_end_us() -> None:
    Path("leaving.py").write_text("import sys\nsys.exit(3)\n")
    assert "SystemExit: 3" in message_of("leaving:f")


def test_a_path_whose_name_is_taken_says_by_whom() -> None:
    Path("json.py").write_text("def f(x): pass\n")
    message = message_of("json.py:f")
    assert message.startswith("json.py cannot be imported as 'json': that name is taken by ")
    assert message.endswith("Rename it to be used here.")


def test_a_path_whose_stem_has_a_dot_is_refused() -> None:
    Path("v1.2.py").write_text("def f(x): pass\n")
    assert (
        message_of("v1.2.py:f") == "v1.2.py cannot be imported: a module's name has no dot. Rename it to be used here."
    )
