"""Speaks Stripe's wire format on this machine: the part of its API that a shop uses, with its rules of idempotency and of states."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

SECRET = "whsec_test"
CARDS = {"pm_card_visa": None, "pm_card_visa_chargeDeclined": "generic_decline", "pm_card_insufficient": "insufficient_funds"}
Answer = tuple[int, dict[str, Any]]


def refusal(code: str, kind: str = "invalid_request_error", **more: Any) -> dict[str, Any]:
    return {"error": {"type": kind, "code": code, "message": f"Refused: {code}.", **more}}


@dataclass
class StripeServer:
    """Its intents and refunds, the answers that it gave by idempotency key, and how many of its next answers get lost."""

    intents: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    """The last parts of paths whose answers never arrive."""
    broken: set[str] = field(default_factory=set)
    """The last parts of paths that do what they are asked, and answer 500."""
    numbers: Any = field(default_factory=count)

    def app(self) -> Starlette:
        routes = [
            Route("/v1/payment_methods/{id}", self._once(self.method)),
            Route("/v1/payment_intents", self._once(self.create), methods=["POST"]),
            Route("/v1/payment_intents/{id}", self._once(self.read)),
            Route("/v1/payment_intents/{id}/{action}", self._once(self.act), methods=["POST"]),
            Route("/v1/refunds", self._once(self.refund), methods=["POST"]),
        ]
        return Starlette(routes=routes)

    def _once(self, work: Callable[[Request, dict[str, str]], Answer]) -> Callable[[Request], Awaitable[Response]]:
        async def run(request: Request) -> Response:
            if request.headers.get("authorization") != "Bearer sk_test":
                return JSONResponse(refusal("api_key_invalid"), 401)
            body = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
            key = request.headers.get("idempotency-key") if request.method == "POST" else None
            status, answer = self.answers.get(key or "") or work(request, body)
            if key:
                self.answers[key] = (status, json.loads(json.dumps(answer)))
            if request.url.path.rsplit("/", 1)[-1] in self.lost:
                await asyncio.sleep(5)
            if request.url.path.rsplit("/", 1)[-1] in self.broken:
                return JSONResponse(refusal("internal", "api_error"), 500)
            return JSONResponse(answer, status)

        return run

    def method(self, request: Request, _body: dict[str, str]) -> Answer:
        id = request.path_params["id"]
        return (200, {"id": id, "object": "payment_method"}) if id in CARDS else (404, refusal("resource_missing"))

    def create(self, _request: Request, body: dict[str, str]) -> Answer:
        id = f"pi_{next(self.numbers)}"
        self.intents[id] = {
            "id": id,
            "object": "payment_intent",
            "amount": int(body["amount"]),
            "amount_received": 0,
            "currency": body["currency"],
            "capture_method": body["capture_method"],
            "status": "requires_payment_method",
            "last_payment_error": None,
            "cancellation_reason": None,
            "metadata": {"payment_id": body["metadata[payment_id]"]},
        }
        return 200, self.intents[id]

    def read(self, request: Request, _body: dict[str, str]) -> Answer:
        found = self.intents.get(request.path_params["id"])
        return (200, found) if found else (404, refusal("resource_missing"))

    def act(self, request: Request, body: dict[str, str]) -> Answer:
        intent, action = self.intents[request.path_params["id"]], request.path_params["action"]
        allowed = {"confirm": "requires_payment_method", "capture": "requires_capture"}
        if action == "cancel" and intent["status"] in ("requires_payment_method", "requires_capture"):
            intent |= {"status": "canceled", "cancellation_reason": body.get("cancellation_reason")}
            return 200, intent
        if allowed.get(action) != intent["status"]:
            return 400, refusal("payment_intent_unexpected_state")
        return self._confirm(intent, body) if action == "confirm" else self._capture(intent, body)

    def _confirm(self, intent: dict[str, Any], body: dict[str, str]) -> Answer:
        declined = CARDS[body["payment_method"]]
        if declined:
            intent["last_payment_error"] = {"code": "card_declined", "decline_code": declined, "message": "Your card was declined."}
            return 402, refusal("card_declined", "card_error", decline_code=declined)
        if intent["capture_method"] == "manual":
            intent["status"] = "requires_capture"
            return 200, intent
        intent |= {"status": "succeeded", "amount_received": intent["amount"]}
        return 200, intent

    def _capture(self, intent: dict[str, Any], body: dict[str, str]) -> Answer:
        intent |= {"status": "succeeded", "amount_received": int(body["amount_to_capture"])}
        return 200, intent

    def refund(self, _request: Request, body: dict[str, str]) -> Answer:
        given = sum(found["amount"] for found in self.refunds.values() if found["payment_intent"] == body["payment_intent"])
        if given + int(body["amount"]) > self.intents[body["payment_intent"]]["amount_received"]:
            return 400, refusal("charge_already_refunded")
        id = f"re_{next(self.numbers)}"
        made = {
            "id": id,
            "object": "refund",
            "amount": int(body["amount"]),
            "payment_intent": body["payment_intent"],
            "status": "succeeded",
        }
        self.refunds[id] = {**made, "failure_reason": None}
        return 200, self.refunds[id]

    def event(self, id: str, kind: str, intent: dict[str, Any], secret: str = SECRET) -> tuple[bytes, dict[str, str]]:
        """A signed event, as Stripe would send it."""
        told = {"id": id, "object": "event", "type": kind, "api_version": "2026-10-01", "data": {"object": intent}}
        body, now = json.dumps(told).encode(), int(time.time())
        signature = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
        return body, {"stripe-signature": f"t={now},v1={signature}"}
