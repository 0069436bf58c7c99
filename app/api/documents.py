"""Documents parsed, measured and validated once: a cache bounded in bytes, since any caller can send any text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cachetools import LRUCache
from graphql import (
    ArgumentNode,
    ASTValidationRule,
    DocumentNode,
    FieldsOnCorrectTypeRule,
    FragmentsOnCompositeTypesRule,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    KnownArgumentNamesRule,
    KnownDirectivesRule,
    KnownTypeNamesRule,
    NoSchemaIntrospectionCustomRule,
    ObjectFieldNode,
    OperationDefinitionNode,
    PossibleFragmentSpreadsRule,
    ProvidedRequiredArgumentsRule,
    ScalarLeafsRule,
    StringValueNode,
    ValuesOfCorrectTypeRule,
    VariablesAreInputTypesRule,
    VariablesInAllowedPositionRule,
    Visitor,
    parse,
    specified_rules,
    validate,
    visit,
)
from graphql.validation.rules import overlapping_fields_can_be_merged
from graphql.validation.validate import ValidationAbortedError

from app.api.cycles import Paths
from app.api.errors import BAD_USER_INPUT, PARSE_FAILED, TOO_COMPLEX, VALIDATION_FAILED
from app.api.limits import Limits, Scale, Weight, excess
from app.api.literals import NamedValuesRule

CACHE_BYTES = 32 * 1024 * 1024
NODE_BYTES = 40
"""Bytes of parsed document per character of its text, measured on typical queries."""

MAX_CHARACTERS = 100_000
"""Longest text: each of its characters costs about 0.2 us to read, while those of variables cost next to nothing."""

MAX_ERRORS = 10
MAX_MESSAGE = 500
"""Longest message of an error: some quote the document, which would come back many times its size."""

# Comparing fields of one name with each other is quadratic. The library's own budget (500,000) lets a document of 10 kB take a second.
overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = 50_000


RULES = tuple(NamedValuesRule if rule is ValuesOfCorrectTypeRule else rule for rule in specified_rules)

TELLING_RULES = (
    FieldsOnCorrectTypeRule,
    FragmentsOnCompositeTypesRule,
    KnownArgumentNamesRule,
    KnownDirectivesRule,
    KnownTypeNamesRule,
    PossibleFragmentSpreadsRule,
    ProvidedRequiredArgumentsRule,
    ScalarLeafsRule,
    VariablesAreInputTypesRule,
    VariablesInAllowedPositionRule,
)
"""Rules whose errors tell which names a schema has, and with what types: with them, whoever sends many guesses at once learns which are
right. Where the schema is not to be read, all of them have one answer."""

UNFIT = (
    "The document does not fit the schema: it names something that is not there, or leaves out something that is needed. "
    "A gateway that answers introspection says what."
)


@dataclass
class Document:
    """A parsed text, its operations by name, and its validation errors once they have been looked for."""

    text: str
    node: DocumentNode
    operations: dict[str | None, OperationDefinitionNode]
    errors: list[GraphQLError] | None = None
    weights: dict[str | None, Weight] = field(default_factory=dict)
    policies: dict[str | None, Any] = field(default_factory=dict)
    """For how long the operations' answers may be kept (`cache_control`)."""

    @property
    def size(self) -> int:
        return NODE_BYTES * len(self.text)

    def operation(self, name: str | None) -> OperationDefinitionNode:
        """The operation to run; raises `GraphQLError` when the name picks none or is needed and missing."""
        if name is None and len(self.operations) == 1:
            return next(iter(self.operations.values()))
        if name is None:
            raise GraphQLError(
                "The document has several operations or none; name one in operationName."
                if self.operations
                else "The document has no operation."
            )
        if name not in self.operations:
            raise GraphQLError(f"The document has no operation named {name[:60]!r}.")
        return self.operations[name]


class RefuseNul(Visitor):
    """NUL cannot be stored in any text column, so a literal that holds it is refused, naming the argument where it stands."""

    def enter_string_value(self, node: StringValueNode, _key: Any, parent: Any, _path: Any, ancestors: list[Any]) -> None:
        if "\0" not in node.value:
            return
        names = (part.name.value for part in (*ancestors, parent) if isinstance(part, (ArgumentNode, ObjectFieldNode)))
        place = ".".join(names) or "a string"
        raise GraphQLError(f"{place} contains the NUL character, which no text may.", node, extensions={"code": BAD_USER_INPUT})


class Documents:
    """Reads texts. Raises `GraphQLError` for what does not parse; `check` gives the errors of what may not run."""

    def __init__(self, schema: GraphQLSchema, limits: Limits, *, max_tokens: int, introspection: bool) -> None:
        self._schema = schema
        self._limits = limits
        self._max_tokens = max_tokens
        self._introspection = introspection
        self._cache: LRUCache[str, Document] = LRUCache(CACHE_BYTES, getsizeof=lambda document: document.size)

    def read(self, text: str) -> Document:
        found = self._cache.get(text)
        if found is None:
            found = self._parse(text)
            if found.size <= CACHE_BYTES:
                self._cache[text] = found
        return found

    def cost(self, document: Document, name: str | None, variables: Mapping[str, Any]) -> dict[str, int]:
        """What an operation asks for and what one may ask for, in points."""
        weight = self._weight(document, document.operation(name), variables)
        return {"requested": weight.cost + weight.per_item, "limit": self._limits.cost}

    def check(self, document: Document, name: str | None, variables: Mapping[str, Any]) -> list[GraphQLError]:
        """Why the operation may not run: a limit, or the rules of validation. Limits come first: they bound the work of the rules."""
        operation = document.operation(name)
        broken = excess(self._weight(document, operation, variables), self._limits)
        if broken is not None:
            return [broken]
        if document.errors is None:
            document.errors = self._validated(document)
        return document.errors

    def _parse(self, text: str) -> Document:
        if len(text) > MAX_CHARACTERS:
            message = f"The document has {len(text)} characters; at most {MAX_CHARACTERS} are allowed. Long values belong in variables."
            raise GraphQLError(message, extensions={"code": TOO_COMPLEX})
        try:
            node = parse(text, max_tokens=self._max_tokens)
        except GraphQLSyntaxError as error:
            error.extensions = {"code": PARSE_FAILED}
            raise
        except RecursionError as error:
            raise GraphQLError("The document is nested too deeply.", extensions={"code": PARSE_FAILED}) from error
        if "\\u" in text or "\0" in text:
            visit(node, RefuseNul())
        operations = {d.name.value if d.name else None: d for d in node.definitions if isinstance(d, OperationDefinitionNode)}
        return Document(text, node, operations)

    def _weight(self, document: Document, operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> Weight:
        name = operation.name.value if operation.name else None
        found = document.weights.get(name)
        if found is None:
            scale = Scale(self._schema, document.node, variables)
            found = scale.weigh(operation)
            if not scale.sized_by_variables:
                document.weights[name] = found
        return found

    def _validated(self, document: Document) -> list[GraphQLError]:
        """Every operation of the document is weighed first: one of them could be what blows up the rules."""
        for operation in document.operations.values():
            broken = excess(Scale(self._schema, document.node, {}).weigh(operation), self._limits)
            if broken is not None:
                return [broken]
        if self._introspection:
            return self._errors(document, RULES) or self._circles(document)
        if self._errors(document, TELLING_RULES):
            return [GraphQLError(UNFIT, extensions={"code": VALIDATION_FAILED})]
        others = (rule for rule in RULES if rule not in TELLING_RULES)
        return self._errors(document, (*others, NoSchemaIntrospectionCustomRule)) or self._circles(document)

    def _circles(self, document: Document) -> list[GraphQLError]:
        """The first operation of a valid document that goes round in circles."""
        paths, most = Paths(self._schema, document.node), self._limits.visits
        for operation in document.operations.values():
            name, visits = paths.widest_circle(operation)
            if visits > most:
                message = f"The operation comes to {name} {visits} times on one path; at most {most} are allowed."
                return [GraphQLError(message, extensions={"code": TOO_COMPLEX})]
        return []

    def _errors(self, document: Document, rules: Sequence[type[ASTValidationRule]]) -> list[GraphQLError]:
        errors = validate(self._schema, document.node, rules, max_errors=MAX_ERRORS, hide_suggestions=not self._introspection)
        return [_shown(error) for error in errors]


def _shown(error: GraphQLError) -> GraphQLError:
    if isinstance(error, ValidationAbortedError) and "many" not in error.message:
        return GraphQLError("The operation repeats too many fields or fragments to be checked.", extensions={"code": TOO_COMPLEX})
    if len(error.message) > MAX_MESSAGE:
        error.message = f"{error.message[:MAX_MESSAGE]}..."
    error.extensions = {"code": VALIDATION_FAILED, **(error.extensions or {})}
    return error
