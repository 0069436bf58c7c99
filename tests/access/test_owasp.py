"""The OWASP GraphQL cheat sheet, point by point, each with the tests that prove it.

https://cheatsheetseries.owasp.org/cheatsheets/GraphQL_Cheat_Sheet.html
"""

import ast
import asyncio
from dataclasses import dataclass
from functools import cache
from typing import Final

import pytest

from tests.access.world import World
from tests.serving import REPOSITORY

INPUT, DENIAL, ACCESS, BATCHES, CONFIGURATION = "Input validation", "DoS prevention", "Access control", "Batching", "Secure configuration"


@dataclass(frozen=True)
class Point:
    """What the cheat sheet asks for, how it is met here, and by which tests that is shown (`file::test`, below `tests`)."""

    section: str
    asks: str
    met: str
    proof: tuple[str, ...]


POINTS: Final = (
    Point(
        INPUT,
        "Specific data types: scalars, enums, custom validators",
        "own scalars for decimals, instants and ids; enums; inputs validated by Pydantic; typed filters",
        (
            "http/test_bad_input.py::test_what_is_no_decimal_is_refused_by_name",
            "http/test_bad_input.py::test_what_is_no_instant_is_refused_by_name",
            "http/test_bad_input.py::test_what_is_no_id_is_refused_by_name",
            "http/test_bad_input.py::test_filters_are_bounded_and_refused_by_place",
        ),
    ),
    Point(
        INPUT,
        "Schemas for mutation input; a list of allowed characters",
        "every mutation takes one input type; names, telephone numbers, currencies and domains by pattern",
        ("accounts/test_models.py::test_a_bad_account_is_refused", "stores/test_models.py::test_what_is_no_host_name_is_refused"),
    ),
    Point(
        INPUT,
        "One internal encoding of Unicode",
        "UTF-8 only; no NUL, no lone surrogates; passwords in one normal form",
        (
            "http/test_bad_input.py::test_nul_in_variables_is_refused_by_name",
            "http/test_bad_input.py::test_lone_surrogates_in_literals_are_refused",
            "accounts/test_strength.py::test_what_looks_the_same_is_the_same_password",
        ),
    ),
    Point(
        INPUT,
        "Reject invalid input gracefully, without telling how the API works",
        "a typed error that names the argument; in production no names of the schema",
        (
            "http/test_bad_input.py::test_missing_and_unknown_variables_are_named",
            "http/test_headers.py::test_production_answers_right_and_wrong_guesses_alike",
            "http/test_fuzzing.py::test_no_operation_is_a_surprise",
        ),
    ),
    Point(
        INPUT,
        "Parameterised statements against injection",
        "SQLAlchemy Core binds every value; names of columns come from models and enums",
        ("access/test_owasp.py::test_what_looks_like_sql_is_text", "http/test_bad_input.py::test_forged_cursors_are_refused_by_name"),
    ),
    Point(
        INPUT,
        "No request to a host that a user names",
        "addresses of images and stores are kept as text and never fetched",
        ("access/test_owasp.py::test_no_address_that_a_caller_names_is_asked",),
    ),
    Point(
        DENIAL,
        "Limit the depth, found before anything is expanded",
        "MAX_DEPTH; fragments are measured once; circles of types are refused (MAX_VISITS)",
        (
            "http/test_limits.py::test_document_is_refused_at_once",
            "http/test_limits.py::test_weighing_visits_each_part_once",
            "http/test_limits.py::test_an_operation_that_goes_round_in_circles_is_refused",
        ),
    ),
    Point(
        DENIAL,
        "Limit the amount; paginate",
        "every list has pages of at most 100 (250 for staff), every relation a bound",
        ("http/test_bad_input.py::test_impossible_page_sizes_are_refused_by_name", "http/test_bad_input.py::test_too_many_ids_are_refused"),
    ),
    Point(
        DENIAL,
        "Timeouts that stop the work",
        "REQUEST_TIMEOUT cancels the statement; PostgreSQL has limits of its own; a body must arrive in time",
        (
            "http/test_outages.py::test_request_that_takes_too_long_is_stopped_and_leaves_nothing_open",
            "http/test_outages.py::test_statement_that_takes_too_long_is_unavailable",
            "http/test_requests.py::test_body_that_does_not_arrive_is_given_up",
        ),
    ),
    Point(
        DENIAL,
        "Analyse the cost of a query and limit it",
        "MAX_COST, sizes multiplied, also those in variables; told to developers",
        (
            "http/test_limits.py::test_sizes_in_variables_count",
            "http/test_limits.py::test_a_hundred_pages_of_a_hundred_are_too_much_whatever_they_show",
            "http/test_cost.py::test_a_refused_operation_tells_what_it_would_have_cost",
        ),
    ),
    Point(
        DENIAL,
        "Limit the rate per address and user, also in the business logic",
        "quotas per address, account and key, and per field where it is worth trying often",
        (
            "http/test_rate_limit.py::test_an_address_beyond_its_quota_is_refused_as_a_whole",
            "http/test_rate_limit.py::test_an_account_has_one_quota_from_wherever_it_calls",
            "http/test_rate_limit.py::test_aliases_of_a_field_count_one_by_one",
        ),
    ),
    Point(
        DENIAL,
        "Batch and cache on the server",
        "one statement per root field; loaders elsewhere",
        (
            "execution/test_queries.py::test_one_root_field_is_one_statement_whatever_its_depth",
            "orders/test_graphql.py::test_the_orders_query_takes_five_statements",
        ),
    ),
    Point(
        DENIAL,
        "Limit what a process may take",
        "bounded bodies, caches, pools and queues; containers with a limit of memory and processes",
        (
            "http/test_requests.py::test_large_body_is_refused_before_it_is_read",
            "accounts/test_changes.py::test_passwords_wait_in_a_bounded_queue",
            "test_packaging.py::test_gateways_have_little_to_take_and_nothing_to_break_out_with",
        ),
    ),
    Point(
        ACCESS,
        "Authorise every view and every change (RBAC): no IDOR",
        "access declared at every root field and type; row scopes in every statement",
        (
            "access/test_declarations.py::test_every_root_field_declares_who_may_ask",
            "access/test_matrix.py::test_every_cell",
            "access/test_idor.py::test_nobody_reads_what_is_not_theirs",
            "access/test_idor.py::test_nobody_changes_what_is_not_theirs",
        ),
    ),
    Point(
        ACCESS,
        "On edges and on nodes, and for `node` and `nodes`",
        "a row outside the scope is on no edge, in no relation and behind no id",
        (
            "access/test_idor.py::test_no_relation_leads_to_what_is_not_ones_own",
            "access/test_declarations.py::test_an_object_by_its_id_needs_what_its_root_field_needs",
        ),
    ),
    Point(
        ACCESS,
        "More or fewer properties, by the permissions of the caller",
        "personal and guarded fields are null with an error for others",
        (
            "accounts/test_changes.py::test_an_email_is_for_its_owner_and_for_who_may_read_users",
            "access/test_declarations.py::test_every_field_of_a_type_that_others_lead_to_declares_whom_it_is_for",
        ),
    ),
    Point(
        ACCESS,
        "Restrict who changes what",
        "write scopes; a key of one scope does what that scope covers",
        (
            "catalog/test_repository.py::test_staff_change_what_their_store_alone_sells",
            "accounts/test_scopes.py::test_a_key_of_one_scope_does_what_that_scope_covers",
        ),
    ),
    Point(
        BATCHES,
        "Limit how many objects one request asks for, by code",
        "arrays of operations are refused; aliases, root fields and ids are limited",
        (
            "http/test_requests.py::test_batches_are_refused",
            "http/test_limits.py::test_document_is_refused_at_once",
            "http/test_bad_input.py::test_too_many_ids_are_refused",
        ),
    ),
    Point(
        BATCHES,
        "No batches where secrets could be guessed",
        "each alias of signIn counts; failures delay the next try of an account and a network",
        (
            "http/test_rate_limit.py::test_aliases_of_a_field_count_one_by_one",
            "accounts/test_delays.py::test_guesses_side_by_side_are_no_more_than_guesses_in_a_row",
        ),
    ),
    Point(
        CONFIGURATION,
        "No excessive errors: no stack traces, no debug mode",
        "what is not made for callers is masked, and logged under the id of the request",
        (
            "http/test_headers.py::test_no_answer_shows_where_it_was_made",
            "http/test_observability.py::test_unexpected_failure_is_masked_and_logged_once",
            "http/test_execution.py::test_production_explains_nothing",
        ),
    ),
    Point(
        CONFIGURATION,
        "No introspection and no GraphiQL in production",
        "off unless asked for",
        ("http/test_headers.py::test_production_tells_nobody_its_schema", "http/test_headers.py::test_production_has_no_page"),
    ),
    Point(
        CONFIGURATION,
        "No suggestions of names where introspection is off",
        "neither suggestions nor any other answer that tells a right guess from a wrong one",
        (
            "http/test_headers.py::test_production_suggests_nothing",
            "http/test_clairvoyance.py::test_production_gives_no_name_away",
        ),
    ),
)


@cache
def named_in(file: str) -> set[str]:
    """The names of the tests that a file of `tests` has."""
    tree = ast.parse((REPOSITORY / "tests" / file).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.asks)
def test_every_point_has_its_proof(point: Point) -> None:
    missing = [proof for proof in point.proof if proof.partition("::")[2] not in named_in(proof.partition("::")[0])]
    assert missing == []
    assert point.proof


INJECTIONS = (
    "' or 1=1 --",
    "x'; drop table users; --",
    '" or ""="',
    "%' union select password_hash from users --",
    "\\'; select pg_sleep(9) --",
)


@pytest.mark.parametrize("text", INJECTIONS)
async def test_what_looks_like_sql_is_text(world: World, text: str) -> None:
    before = await world.checksums()
    admin = world.administrator.caller
    for where in ("name: { contains: $text }", "name: { startsWith: $text }", "sku: { eq: $text }", "category: { in: [$text] }"):
        found = await admin.ask(f"query ($text: String!) {{ products(filter: {{ {where} }}) {{ totalCount }} }}", text=text)
        assert found["products"]["totalCount"] == 0
    answer = await admin.ask("query ($text: String!) { users(filter: { email: { eq: $text } }) { totalCount } }", text=text)
    assert answer["users"]["totalCount"] == 0
    assert before == await world.checksums()

    create = "mutation ($input: CreateProductInput!) { createProduct(input: $input) { product { name } userErrors { message } } }"
    made = await admin.ask(create, input={"name": text, "price": "1"})
    assert made["createProduct"] == {"product": {"name": text}, "userErrors": []}


async def test_no_address_that_a_caller_names_is_asked(world: World) -> None:
    """Not when it is given, and not when it is shown."""
    visits: list[object] = []
    server = await asyncio.start_server(lambda reader, _: visits.append(reader), "127.0.0.1", 0)
    listening_at = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    admin = world.administrator.caller
    profile = "mutation ($input: UpdateProfileInput!) { updateProfile(input: $input) { user { imageUrl } userErrors { message } } }"
    product = "mutation ($input: CreateProductInput!) { createProduct(input: $input) { product { id imageUrl } userErrors { message } } }"
    store = "mutation ($input: UpdateStoreInput!) { updateStore(input: $input) { store { url } userErrors { message } } }"
    for document, input in (
        (profile, {"imageUrl": listening_at}),
        (product, {"name": "Tea", "price": "1", "imageUrl": listening_at}),
        (store, {"id": world.victims["Store"], "url": listening_at}),
    ):
        (answer,) = (await admin.ask(document, input=input)).values()
        assert answer["userErrors"] == []
        assert listening_at in str(answer)
    server.close()
    await server.wait_closed()
    assert visits == []
