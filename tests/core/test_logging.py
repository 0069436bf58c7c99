"""What never reaches a log, wherever in an event it stands."""

from app.core.logging import HIDDEN, hide_secrets


def test_values_of_secret_names_are_hidden_at_any_depth() -> None:
    event = {
        "event": "signed_in",
        "password": "hunter2",
        "Authorization": "Bearer hunter2",
        "session_tokens": ["hunter2", "hunter3"],
        "input": {"currentPassword": "hunter2", "email": "a@example.com"},
        "inputs": [{"payment_token": "hunter2"}, ({"dsn": "hunter2"},), "plain"],
        "token": None,
    }
    assert hide_secrets(None, "info", event) == {
        "event": "signed_in",
        "password": HIDDEN,
        "Authorization": HIDDEN,
        "session_tokens": HIDDEN,
        "input": {"currentPassword": HIDDEN, "email": "a@example.com"},
        "inputs": [{"payment_token": HIDDEN}, [{"dsn": HIDDEN}], "plain"],
        "token": None,
    }
