"""The Content-Security-Policies (CSP Level 3) of the insight page and of GraphiQL: its build's, and that of the fallback without it."""

from collections.abc import Mapping
from typing import Final

_SHARED: Final = {
    "default-src": "'none'",
    "script-src": "'nonce-{nonce}' 'strict-dynamic'",
    # 'self' covers this host's ws: and wss: as well ("Does url match expression in origin"); naming the schemes would open every host.
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}

_BUILT: Final = _SHARED | {
    "style-src": "'nonce-{nonce}'",
    # Monaco writes an editor's lines as HTML in which each line's position is a style attribute. An attribute, unlike a style sheet, has
    # no selectors with which to read the page.
    "style-src-attr": "'unsafe-inline'",
    # GraphiQL's style sheet carries its fonts as data.
    "font-src": "'self' data:",
    "worker-src": "'self'",
}

# The scripts are admitted as strictly, and the page names the hash of each one; the styles come from the public host and from within.
_FALLBACK: Final = _SHARED | {"style-src": "https: 'unsafe-inline'", "font-src": "https: data:"}

_INSIGHT: Final = _SHARED | {"style-src": "'nonce-{nonce}'", "img-src": "'self'"}


def insight_policy(nonce: str) -> str:
    """The policy of the insight page: scripts and style sheets by nonce, nothing inline, no host but the gateway."""
    return _written(_INSIGHT, nonce)


def built_policy(nonce: str) -> str:
    """The policy of the built page: no host but the gateway."""
    return _written(_BUILT, nonce)


def fallback_policy(nonce: str) -> str:
    """The policy of Strawberry's page: its scripts, and styles and fonts from a public host."""
    return _written(_FALLBACK, nonce)


def _written(directives: Mapping[str, str], nonce: str) -> str:
    return "; ".join(f"{name} {sources}" for name, sources in directives.items()).replace("{nonce}", nonce)
