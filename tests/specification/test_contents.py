"""The walk leaves out no operation of the table of contents, on none of its ways."""

import importlib.util
from pathlib import Path
from types import ModuleType

from tests.specification.contents import CONTENTS, GRAPHQL, PYTHON, WAYS, checklist


def modules() -> list[ModuleType]:
    return [importlib.import_module(f"tests.specification.{path.stem}") for path in sorted(Path(__file__).parent.glob("test_*.py"))]


def test_each_operation_is_walked_through_on_each_of_its_ways() -> None:
    marks = [mark for module in modules() for test in vars(module).values() for mark in getattr(test, "pytestmark", ())]
    assert {mark.args for mark in marks if mark.name == "operation"} == WAYS


def test_the_checklist_has_a_line_per_operation() -> None:
    assert checklist([], []) == []
    passed = sorted(WAYS - {("createStore", GRAPHQL)} - {("createUser", PYTHON)})
    lines = checklist(passed, [("createStore", GRAPHQL)])
    assert len(lines) == 1 + len(CONTENTS) + sum(map(len, CONTENTS.values()))
    said = {line.split()[0]: line for line in lines}
    assert said["createStore"].endswith("Python ok       GraphQL FAILED   (createStore)")
    assert said["createUser"].endswith("Python not run  GraphQL ok       (signUp)")
    assert said["createRepositoryFactory"].endswith("Python ok")
