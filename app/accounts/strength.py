"""How hard a new password is to guess (NIST SP 800-63B, 5.1.1.2: length, and what attackers try first; no rules of composition).

zxcvbn estimates how many guesses an attacker needs who knows common passwords, words, names, dates, keyboards and repetitions. Its function
of the same name keeps what belongs to one caller in a dictionary of all threads, and tries every combination of symbols that may stand for
letters: seconds for a password made for that. So it is called part by part here, on a text of bounded cost.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from zxcvbn.feedback import get_feedback
from zxcvbn.matching import RANKED_DICTIONARIES, build_ranked_dict, omnimatch
from zxcvbn.scoring import most_guessable_match_sequence

LEAST_GUESSES = 1_000_000
"""More than anybody gets to make who is slowed down as sign-ins are; zxcvbn's scores 0 and 1 lie below it."""

LOOKED_AT = 32
"""Characters of a password that are looked at: a password that is strong so far stays strong."""

RARE_SYMBOLS = str.maketrans(dict.fromkeys("({[<|%+", "·"))
"""Symbols that few people write for letters, and that multiply what zxcvbn tries. Without them the worst password takes 0.1 s."""

SHORTEST_PART = 3
LEAST_REST = 5
"""Letters and digits that a password needs besides what is known of its owner: more than a year."""

SHOP = "neurotracker"


def weakness(password: str, personal: Iterable[str | None]) -> str | None:
    """Why a password is too easy to guess and what helps; None where it is not. `personal` is what others know of its owner."""
    parts = _parts(personal)
    text = password[:LOOKED_AT].translate(RARE_SYMBOLS)
    found = most_guessable_match_sequence(text, omnimatch(text, {**RANKED_DICTIONARIES, "user_inputs": build_ranked_dict(parts)}))
    hard = found["guesses"] >= LEAST_GUESSES
    if _is_personal(password, parts) or (not hard and _names_owner(found["sequence"])):
        return "is too easy to guess from your name or email; take a few words that have nothing to do with you"
    if hard:
        return None
    warning = get_feedback(0, found["sequence"])["warning"].rstrip(".")
    reason = f": {warning[0].lower()}{warning[1:]}" if warning else ""
    return f"is too easy to guess{reason}; add another word or two, the less common the better"


def _names_owner(sequence: Iterable[Any]) -> bool:
    return any(match.get("dictionary_name") == "user_inputs" for match in sequence)


def _is_personal(password: str, parts: Sequence[str]) -> bool:
    """Whether hardly anything is left of a password without what is known of its owner: zxcvbn takes words in a row for unrelated ones."""
    known = re.compile("|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True)))
    rest = known.sub("", password.lower())
    return len(rest) < len(password) and sum(character.isalnum() for character in rest) < LEAST_REST


def _parts(personal: Iterable[str | None]) -> list[str]:
    """The texts and their parts, in lower case: of an email its name, its domain and their pieces."""
    texts = [text.lower() for text in personal if text] + [SHOP]
    pieces = [piece for text in texts for piece in (text, *re.split(r"[@+]", text), *re.split(r"[\W_]+|(?<=\D)(?=\d)", text))]
    return list(dict.fromkeys(piece for piece in pieces if len(piece) >= SHORTEST_PART))
