"""Who sends a request, as far as HTTP tells: its address, its program, its credential, and whether another site may be behind it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_address
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from app.api.context import RequestInfo
from app.api.request import RequestRefused, head_of

NO_COOKIES: dict[str, str] = {}
SAFE_FETCH_SITES = ("same-origin", "none")
CSRF_HEADERS = ("x-csrf", "x-requested-with", "apollo-require-preflight", "x-apollo-operation-name")
"""Headers that no form and no other site's script can send without asking us first (Fetch, "CORS-safelisted request-header")."""

CART_HEADER = "x-cart-token"
MAX_CART_TOKEN = 100
"""Longer than any of ours."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Clients:
    """Reads who sends a request.

    `secure`: session cookies are for HTTPS only. `origins`: other origins whose pages may act for a signed-in browser.
    `proxies`: networks whose X-Forwarded-For is believed.
    """

    secure: bool = False
    origins: Collection[str] = ()
    proxies: Sequence[Network] = field(default_factory=tuple)

    @property
    def cookie(self) -> str:
        """The session cookie's name. `__Host-` pins it to this host (RFC 6265bis, 4.1.3.2), which browsers allow over HTTPS only."""
        return "__Host-session" if self.secure else "session"

    @property
    def cart_cookie(self) -> str:
        """The name of the cookie with the token of a guest's carts."""
        return "__Host-cart" if self.secure else "cart"

    def info(self, request: HTTPConnection) -> RequestInfo:
        """Raises `RequestRefused` for an Authorization header that is none of ours. A header wins over a cookie."""
        known = head_of(request.scope).known
        said: RequestInfo | None = known.get("client")
        if said is None:
            said = known["client"] = self._said(request)
        id = request.scope["state"].get("request_id", "")
        return RequestInfo(id, said.ip_address, said.user_agent, said.token, said.by_cookie, said.cart_token, said.cart_by_cookie)

    def _said(self, request: HTTPConnection) -> RequestInfo:
        """What the headers say, and where the connection comes from."""
        bearer = _bearer(request)
        cookies = request.cookies if "cookie" in request.headers else NO_COOKIES
        cookie = cookies.get(self.cookie) if bearer is None else None
        cart, cart_cookie = request.headers.get(CART_HEADER), cookies.get(self.cart_cookie)
        return RequestInfo(
            id="",
            ip_address=self.address(request),
            user_agent=request.headers.get("user-agent", "")[:500] or None,
            token=bearer or cookie or None,
            by_cookie=bool(cookie),
            cart_token=well_formed_cart_token(cart or cart_cookie),
            cart_by_cookie=bool(cart_cookie) and not cart,
        )

    def address(self, request: HTTPConnection) -> str | None:
        """The nearest address that is not a proxy of ours: what stands left of it in X-Forwarded-For is whatever the caller wrote there."""
        address = request.client.host if request.client else None
        if not self.proxies or address is None:
            return address
        hops = [hop.strip() for hop in ",".join(request.headers.getlist("x-forwarded-for")).split(",") if hop.strip()]
        while hops and self._is_proxy(address):
            address = hops.pop()
        return address if _is_address(address) else request.client.host  # type: ignore[union-attr]

    def check_intent(self, request: Request, info: RequestInfo) -> None:
        """Refuse a change that another site could have made a signed-in browser ask for (OWASP, CSRF Prevention Cheat Sheet).

        A request with a bearer token is safe: no browser adds one by itself. Raises `RequestRefused`.
        """
        by_cookie = info.by_cookie or (info.token is None and info.cart_by_cookie)
        if by_cookie and not self._is_own(request):
            raise RequestRefused(
                403, "A change by cookie must come from a page of this host or an allowed origin, or carry the header X-CSRF: 1."
            )

    def is_foreign(self, request: HTTPConnection) -> bool:
        """Whether a page of another site may be behind a request that no browser asks us about first, such as for a WebSocket."""
        return "origin" in request.headers and not self._is_own(request)

    def _is_own(self, request: HTTPConnection) -> bool:
        headers = request.headers
        if headers.get("sec-fetch-site") in SAFE_FETCH_SITES:
            return True
        if origin := headers.get("origin"):
            return origin in self.origins or urlsplit(origin).netloc == headers.get("host")
        return "sec-fetch-site" not in headers and any(name in headers for name in CSRF_HEADERS)

    def write_cookies(self, request: Request, info: RequestInfo, response: Response) -> None:
        """Give or take the cookies of the session and of a guest's carts where the operation said so.

        Only a browser gets one, which is known by the headers that scripts cannot forge (Fetch Metadata, Origin); other clients hold the
        tokens that the payload has. A page of a foreign origin gets none: it would sign its visitor in as somebody else.
        """
        session, cart = info.reply.session, info.reply.cart
        if session is None and cart is None:
            return
        browser = ("sec-fetch-site" in request.headers or "origin" in request.headers) and self._is_own(request)
        if session is not None and (info.by_cookie or browser):
            lifetime = int((session.expires_at - datetime.now(UTC)).total_seconds())
            self._set_cookie(response, self.cookie, session.token, lifetime)
        if cart is not None and (info.cart_by_cookie or browser):
            self._set_cookie(response, self.cart_cookie, cart.token, cart.lifetime)

    def _set_cookie(self, response: Response, name: str, value: str, lifetime: int) -> None:
        response.set_cookie(name, value, max_age=max(0, lifetime), path="/", secure=self.secure, httponly=True, samesite="lax")

    def _is_proxy(self, address: str) -> bool:
        return _is_address(address) and any(ip_address(address) in network for network in self.proxies)


def _bearer(request: HTTPConnection) -> str | None:
    given = request.headers.get("authorization")
    if given is None:
        return None
    scheme, _, token = given.partition(" ")
    if token and scheme.lower() != "bearer":
        raise RequestRefused(401, "Authorization must be `Bearer <token>`.", {"WWW-Authenticate": "Bearer"})
    return token.strip() or None


def well_formed_cart_token(given: str | None) -> str | None:
    """A token as we may have made it; anything else stands for no cart."""
    return given if given and len(given) <= MAX_CART_TOKEN and given.isascii() else None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
