"""Which passwords are refused, and that asking costs little."""

import asyncio
import time

import pytest
from argon2 import PasswordHasher as Argon2
from hypothesis import given, settings
from hypothesis import strategies as st

from app.accounts.passwords import PasswordHasher
from app.accounts.strength import weakness
from tests.serving import Caller

SIGN_UP = "mutation ($input: SignUpInput!) { signUp(input: $input) { session { token } userErrors { field message code } } }"
CHANGE = "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { userErrors { field message code } } }"
ANNA = ("anna.smith@example.com", "a_smith", "Anna", None)


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("password123", "very common password"),
        ("Passw0rd!", "similar to a commonly used password"),
        ("qwertyuiop", "top-100 common password"),
        ("abcabcabcabc", "repeats"),
        ("aaaaaaaaaaaaaaaa", "repeats"),
        ("20241231", "dates"),
        ("anna.smith@example.com", "your name or email"),
        ("Anna.Smith1987", "your name or email"),
        ("smith-anna-smith", "your name or email"),
        ("neurotracker1", "your name or email"),
    ],
)
def test_what_is_tried_first_is_refused_with_a_reason_and_a_remedy(password: str, reason: str) -> None:
    message = weakness(password, ANNA)
    assert message is not None
    assert reason in message
    assert message.split("; ")[-1].startswith(("add another word", "take a few words"))
    assert password not in message


@pytest.mark.parametrize(
    "password",
    ["correct horse battery", "tea at 5 with bert", "vB7$kq!x", "никто не знает", "鍵は机の下にある", "kpq9x7" + "z" * 100],
)
def test_there_are_no_rules_of_composition(password: str) -> None:
    assert weakness(password, ANNA) is None


def test_what_is_common_to_others_may_be_personal_to_one() -> None:
    assert weakness("zanzibarquux", ("zanzibarquux@example.com",)) is not None
    assert weakness("zanzibarquux", ANNA) is None


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="4@8({[<369!|1/7$5+%2aeiost0", min_size=8, max_size=128))
def test_no_password_takes_long(password: str) -> None:
    started = time.process_time()
    weakness(password, ANNA)
    assert time.process_time() - started < 2


def test_a_password_made_to_take_long_does_not() -> None:
    """zxcvbn alone takes 14 s of CPU for it."""
    started = time.process_time()
    assert weakness("4@8({[<369!|1/7$5+%2" * 6, ANNA) is None
    assert time.process_time() - started < 2


async def test_one_caller_s_secrets_are_nothing_to_another() -> None:
    passwords = PasswordHasher(Argon2(time_cost=1, memory_cost=64, parallelism=1), threads=4)
    owners = [f"owner{number}quux" for number in range(40)]
    results = await asyncio.gather(
        *(passwords.hash_new("zanzibarquux", f"{owner}@example.com") for owner in owners), return_exceptions=True
    )
    passwords.close()
    assert [result for result in results if isinstance(result, Exception)] == []


async def test_what_looks_the_same_is_the_same_password() -> None:
    passwords = PasswordHasher(Argon2(time_cost=1, memory_cost=64, parallelism=1))
    stored = await passwords.hash_new("Ångström am Fluß")
    assert await passwords.verify("A\u030angstro\u0308m am Fluß", stored)
    assert not await passwords.verify("Angstrom am Fluß", stored)
    passwords.close()


async def test_a_weak_password_makes_no_account_and_changes_none(caller: Caller) -> None:
    account = {"email": "anna.smith@example.com", "username": "annas", "password": "Anna.Smith1987"}
    answer = (await caller.ask(SIGN_UP, input=account))["signUp"]
    assert answer["session"] is None
    assert answer["userErrors"] == [
        {
            "field": ["password"],
            "code": "INVALID",
            "message": "is too easy to guess from your name or email; take a few words that have nothing to do with you",
        }
    ]
    strong = "tea at 5 with bert"
    made = (await caller.ask(SIGN_UP, input={**account, "password": strong}))["signUp"]
    anna = Caller(caller.http, made["session"]["token"])
    refused = await anna.ask(CHANGE, input={"currentPassword": strong, "password": "annas-annas"})
    assert [error["field"] for error in refused["changePassword"]["userErrors"]] == [["password"]]
    assert await caller.sign_in(account["email"], strong)
