"""Wrong values in a document, reported with the argument and the field in which they stand."""

from typing import Any

from graphql import (
    ArgumentNode,
    GraphQLError,
    GraphQLInputType,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VariableDefinitionNode,
    VisitorAction,
)
from graphql.language import SKIP
from graphql.utilities import validate_input_literal


class NamedValuesRule(ValuesOfCorrectTypeRule):
    """GraphQL's rule "Values of Correct Type", whose own errors leave open which of the values is meant."""

    _place = ""

    def enter_argument(self, node: ArgumentNode, *_: Any) -> None:
        self._place = node.name.value

    def enter_variable_definition(self, node: VariableDefinitionNode, *_: Any) -> None:
        self._place = f"${node.variable.name.value}"

    def is_valid_value_node(self, node: ValueNode, input_type: GraphQLInputType | None) -> VisitorAction:
        def on_error(error: GraphQLError, path: list[str | int]) -> None:
            place = ".".join((self._place, *map(str, path)))
            self.report_error(GraphQLError(f"{place}: {_message(error)}", error.nodes or [node], extensions={"argument": place}))

        if input_type:
            validate_input_literal(node, input_type, on_error, None, None, self.context.hide_suggestions)
        return SKIP


def _message(error: GraphQLError) -> str:
    """The error's text, without that of an exception which was not made for callers."""
    return f"{error.message.partition(', but encountered')[0]}." if error.original_error else error.message
