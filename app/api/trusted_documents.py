"""Documents that are asked for by name instead of by text.

- Trusted documents: what the shop's own clients ask, known when they are built. The manifest is the one of GraphQL Code Generator's client
  preset (`persistedDocuments`), a JSON object of texts by hash. With `only`, nothing else is run.
- Automatic persisted queries (Apollo): the client names a text by its SHA-256, and sends it along when nobody knows it yet. These are kept
  in this process, and in the shared cache where there is one, so that the other processes need not ask again.

Both stores are bounded. Anybody can register a text, so the shared one has a fixed number of places: a hash has one place, and the newer
text there replaces the older. A client whose text is gone sends it again.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Final

import orjson
from cachetools import LRUCache
from graphql import GraphQLError

from app.api.request import SHA_256_PREFIX, GraphQLRequest
from app.core.cache import Cache
from app.settings import Settings, SettingsError, TrustedDocumentsMode

NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"
HASH_MISMATCH = "PERSISTED_QUERY_HASH_MISMATCH"
NOT_TRUSTED = "DOCUMENT_NOT_TRUSTED"

SHA_256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)

MAX_TEXT_BYTES = 32 * 1024
MAX_KEPT_BYTES = 16 * 1024 * 1024
PLACE_DIGITS = 3
"""The leading digits of a hash that tell its place in the shared cache: 16 ** 3 places of 32 KiB are 128 MiB at most."""

SHARED_SECONDS = 86_400


def read_manifest(settings: Settings) -> Mapping[str, str]:
    """The texts of the manifest by their ids, where one is used. Raises `SettingsError` for a file that is no manifest."""
    path = settings.trusted_documents_file
    if path is None or settings.trusted_documents is TrustedDocumentsMode.OFF:
        return {}
    try:
        manifest = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise SettingsError(f"TRUSTED_DOCUMENTS_FILE: {path} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or not all(isinstance(text, str) for text in manifest.values()):
        raise SettingsError(f"TRUSTED_DOCUMENTS_FILE: {path} must be a JSON object of documents by hash")
    return manifest


class TrustedDocuments:
    """Finds the text of a request that names one."""

    def __init__(self, manifest: Mapping[str, str], mode: TrustedDocumentsMode, cache: Cache | None = None) -> None:
        """`cache` is the one that the processes share, if they do."""
        named = {name.removeprefix(SHA_256_PREFIX): text for name, text in manifest.items()}
        self._trusted = {**{digest(text): text for text in manifest.values()}, **named}
        self._only = mode is TrustedDocumentsMode.ONLY
        self._kept: LRUCache[str, str] = LRUCache(MAX_KEPT_BYTES, getsizeof=len)
        self._cache = cache

    async def find(self, request: GraphQLRequest) -> GraphQLRequest:
        """The request with its text. Raises `GraphQLError` for one that is not known, not trusted, or not what its hash says."""
        name = request.document_id
        text = request.query
        if name is not None:
            known = self._trusted.get(name) or await self._registered(name)
            if known is None and not text:
                raise GraphQLError("PersistedQueryNotFound", extensions={"code": NOT_FOUND})
            if text and text != known and digest(text) != name:
                raise GraphQLError("provided sha does not match query", extensions={"code": HASH_MISMATCH})
            text = known or text
        if self._only and digest(text) not in self._trusted:
            raise GraphQLError("Only trusted documents are run here.", extensions={"code": NOT_TRUSTED})
        return request if text is request.query else replace(request, query=text)

    async def keep(self, request: GraphQLRequest) -> None:
        """Remember the text of a request that named it as well; to be called once the text has turned out to be fit to run."""
        name, text = request.document_id, request.query
        if name is None or self._only or name in self._trusted or name in self._kept or len(text) > MAX_TEXT_BYTES:
            return
        self._kept[name] = text
        if self._cache:
            place = _place(name)
            await self._cache.set(place, [name, text], self._cache.generation(place), ttl=SHARED_SECONDS)

    async def _registered(self, name: str) -> str | None:
        if self._only or not SHA_256.fullmatch(name):
            return None
        known = self._kept.get(name)
        if known is None and self._cache:
            shared = await self._cache.get(_place(name))
            if isinstance(shared, list) and shared[0] == name:
                known = self._kept[name] = shared[1]
        return known


def digest(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


def _place(name: str) -> str:
    return f"document:{name[:PLACE_DIGITS]}"
