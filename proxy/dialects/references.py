"""What a body refers to outside itself: ids of what is stored at a provider, and URLs that a server would fetch. Pure.

One walk over the whole parsed body, so that no place is forgotten. What counts is the name of a field: whatever ends like
an id is one, unless it is on the list of those that clients make up themselves. What the tables leave out is refused, not
passed: a new field of a provider stays shut until somebody has looked at it. O(values); texts are not looked into.

Sources: the request types of openai 3.57, anthropic 2.14, google-genai 3.6 and mistralai 3.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from pricing.values import NOTHING, Value, frozen
from proxy.dialects.unread_messages import UnreadMessages
from proxy.errors import stored_not_found

# `file_id`, `IDS`, `vectorStoreIds`; not `valid`.
_ENDS_LIKE_AN_ID = re.compile(r"(?i:(?:\A|[_-])ids?)\Z|[a-z0-9]I[dD]s?\Z")
_MAX_NAMES = 4096  # of fields, remembered with their kinds: clients make up names
_MAX_DECODINGS = 4
# What is no address and no data, wherever it stands: an id as providers make them (not words: `voice-assistant`), or a place
# in somebody's account.
_LIKE_AN_ID = re.compile(
    r"\s*(?:(?:file|audio|cntr|container|vs|skill|resp|msg|conv|asst|thread|voice)[-_]"
    r"(?!(?-i:[a-z]{1,15}(?:[-_][a-z]{1,15})*)\s*\Z)[A-Za-z0-9_-]{3,200}\s*\Z"
    r"|(?:gs|s3a?|oss|cos|az|abfss?|wasbs?|dbfs|hdfs|sediment|attachment)://)",
    re.IGNORECASE | re.ASCII,
)
_SHOWN = 64
# The URI of a file that was uploaded to Gemini, as its answer states it; nothing else that looks like one is let through.
_GEMINI_FILE = re.compile(r"https?://[A-Za-z0-9.:-]{1,253}/(?:v1beta|v1)/(files/[A-Za-z0-9_-]{1,100})\Z")

_PLAIN, _CLOSED, _NEVER, _STORED, _HOLDER, _ID, _URL, _FILE_URI, _FORGOTTEN = range(9)

# Names of fields, without `_` and in lower case: some servers take every spelling.
_OWN = """
    id ids toolcallid tooluseid callid callerid toolid userid enduserid customerid turnid requestid deviceid customid
    correlationid placeid connectorid continuationid idslot
"""
# A tracer's and a tokenizer's; `litellm_session_id`, `stop_token_ids`.
_OWN_ENDINGS = ("sessionid", "traceid", "spanid", "litellmcallid", "tokenid", "tokenids")
# Fields beside a call's own that chat programs send for their own books (Open WebUI, LibreChat, LangGraph, n8n), and that no
# provider of these dialects reads. A server that nobody knows does not see them: `access/provider_fields.py`.
BOOKKEEPING = (
    "conversation_id", "chat_id", "message_id", "parent_message_id", "thread_id", "run_id", "parent_run_id", "task_id",
    "job_id", "workflow_id", "execution_id", "interaction_id", "event_id", "node_id", "step_id", "transaction_id",
    "tracking_id",
)  # fmt: skip
_BOOKKEEPING = frozenset(name.replace("_", "") for name in BOOKKEEPING)
_STORED_NAMES = "container conversation vectorstores"
_HOLDERS = "audio voice file vectorstore skill agent assistant thread"
_CLOSED_NAMES = """
    metadata clientmetadata parameters schema jsonschema properties inputschema outputschema responseschema
    responsejsonschema parametersjsonschema inputexamples arguments logitbias chattemplatekwargs structuredoutputs guidedjson
"""
_URL_ENDINGS = ("url", "urls", "uri", "uris", "endpoint")
# May be a URL, or what stands in its place (base64, a list of parts).
_PERHAPS_URLS = "image images video videos audio"


@frozen
class References(Value):
    """held: ids that have to be the team's own. urls: what a server would fetch. In no order."""

    held: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


class Names:
    """The fields of one dialect, as `_`-less lower-case words.

    own: ids that clients make up, or that refer to something in the same body. held: ids of what calls through this proxy
    may have made, so that a team has them; all others are nobody's. stored: fields that end like no id and name something
    stored. holders: objects whose `id` does. never: what no call may hold at all. closed: JSON of the client's own, in which
    no provider looks for ids. forgotten: ids that only help to diagnose, and may be left out. public: fields that name
    something of the provider's own, or nothing but a label, where the `type` beside them is one of these.
    """

    def __init__(
        self,
        *,
        held: str = "",
        stored: str = "",
        holders: str = "",
        never: str = "",
        closed: str = "",
        forgotten: str = "",
        file_uris: str = "",
        public: Mapping[str, tuple[str, ...]] = NOTHING,
    ) -> None:
        self.held = frozenset(held.split())
        self.public = public
        self._own = frozenset(_OWN.split())
        # Where a name stands in two tables the later one holds.
        self._kinds = {
            name: kind
            for names, kind in (
                (_PERHAPS_URLS, _URL),
                (_HOLDERS + " " + holders, _HOLDER),
                (_STORED_NAMES + " " + stored, _STORED),
                (_CLOSED_NAMES + " " + closed, _CLOSED),
                (forgotten, _FORGOTTEN),
                (file_uris, _FILE_URI),
                (never, _NEVER),
            )
            for name in names.split()
        }
        self.known: dict[str, int] = {}
        self.plain: set[str] = set()  # of these, the ones that say nothing

    def kind_of(self, name: str) -> int:
        """What a field of this name holds."""
        kind = self._kinds.get(plain := squashed(name))
        if kind is None:
            own = plain in self._own or plain.endswith(_OWN_ENDINGS)
            kind = _ID if not own and _ENDS_LIKE_AN_ID.search(name) else _PLAIN
            kind = _URL if plain.endswith(_URL_ENDINGS) else kind
        if len(self.known) < _MAX_NAMES and len(name) <= _SHOWN:
            self.known[name] = kind
            if kind == _PLAIN:
                self.plain.add(name)
        return kind


_CITED = ("url_citation",)  # what an answer has cited, sent back: nobody fetches it again
OPENAI = Names(  # closed: what a function is, and what it was called with
    held="audio", closed="toolcalls function urlcitation", public={"url": _CITED}
)
TOKENS = Names(closed="input prompt")  # texts and tokens, maybe a million of these
RESPONSES = Names(
    held="container containerid fileid approvalrequestid comparisonresponseid previousresponseid",
    holders="prompt",
    public={"url": _CITED},
)
ANTHROPIC = Names(
    held="container containerid fileid",
    holders="source",
    closed="input",
    forgotten="previousmessageid",
    # platform.claude.com/docs/en/build-with-claude/search-results: "source" is a URL or any identifier, for citations
    public={
        "skillid": ("anthropic",),
        "source": ("search_result", "search_result_location"),
        "url": ("web_search_result_location", "web_search_result"),
    },
)
GEMINI = Names(
    held="cachedcontent",
    closed="args response labels",
    stored="cachedcontent filesearchstorenames filesearchstores",
    never="""
        retrieval vertexragstore vertexaisearch ragcorpus ragcorpora ragresources datastore datastorespecs
        outputuriprefix apikeysecret apikeysecretversion credentialsecret serviceaccount prompttemplatename responsetemplatename
    """,
    file_uris="fileuri gcsuri gcsuris",
)
SOUND = Names(held="modelid")  # ElevenLabs' models are called by one

# Of the dialects whose answers may say what they have made.
NAMES = {
    "openai.chat": OPENAI,
    "openai.responses": RESPONSES,
    "openai.count_tokens": RESPONSES,
    "anthropic.messages": ANTHROPIC,
    "anthropic.count_tokens": ANTHROPIC,
}


def squashed(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def of(body: dict[str, Any], names: Names, seen: object = None, but: Any = None) -> References:
    """What a request refers to. Raises `Refused` (404) for what cannot be the caller's; takes out what may be left out. seen: a
    list or an object in it in which there is nothing, or in `but` alone."""
    noted = _walk(body, names, seen, but)
    if noted is _NOTHING_NOTED:
        return NO_REFERENCES
    for name, value in noted.ids:
        if squashed(name) not in names.held and value:
            raise stored_not_found(name[:_SHOWN])
    if any(map(_LIKE_AN_ID.match, noted.urls)):
        raise stored_not_found("url")
    files = []
    for name, uri in noted.file_uris:
        if (match := _GEMINI_FILE.match(uri)) is not None:
            files.append(match[1])
        else:
            _refuse_stored_file(name, uri)
    for place, name in noted.forgotten:
        place[name] = None
    return References((*[value for _, value in noted.ids], *files), tuple(noted.urls))


def nothing_beside(body: Mapping[str, Any], names: Names | None, seen: object) -> bool:
    """Whether `of` finds nothing in a body with no lists and objects but `seen`, in which it finds nothing either. False where
    it has to look. names None: that of its fields' names nothing refers to anything is known."""
    if names is not None and not names.plain.issuperset(body):
        return False
    for value in body.values():
        if type(value) in _CONTAINERS and value is not seen:
            return False
    return True


def nothing_in(part: Any, names: Names) -> bool:
    """Whether `of` finds nothing in a part of a body."""
    return _walk([part], names) is _NOTHING_NOTED


def made_by(answer: Any, names: Names) -> list[str]:
    """The ids in an answer by which a later call can refer to something that this one has made."""
    return [value for name, value in _walk(answer, names).ids if squashed(name) in names.held]


class _Noted:
    """What one walk has come by."""

    __slots__ = ("file_uris", "forgotten", "ids", "urls")

    def __init__(self) -> None:
        self.ids: list[tuple[str, str]] = []
        self.urls: list[str] = []
        self.file_uris: list[tuple[str, str]] = []
        self.forgotten: list[tuple[dict[str, Any], str]] = []


_CONTAINERS = frozenset({dict, list, UnreadMessages})
NO_REFERENCES = References()
_NOTHING_NOTED = _Noted()  # by nearly every walk


def _walk(body: Any, names: Names, seen: object = None, but: Any = None) -> _Noted:
    noted = _NOTHING_NOTED
    plain, known = names.plain, names.known
    stack: list[Any] = [body]
    while stack:
        value = stack.pop()
        if value is seen:
            value = but
        if type(value) is list:
            stack += [inner for inner in value if type(inner) in _CONTAINERS]
        elif type(value) is dict and plain.issuperset(value):
            for inner in value.values():
                if type(inner) in _CONTAINERS:
                    stack.append(inner)
        elif type(value) is dict:
            for name, inner in value.items():
                kind = known.get(name)
                if kind is None:
                    kind = names.kind_of(name)
                if kind == _CLOSED or inner is None:
                    continue
                if kind != _PLAIN and not (value is body and squashed(name) in _BOOKKEEPING):
                    noted = _Noted() if noted is _NOTHING_NOTED else noted
                    _note(noted, names, kind, value, name)
                if type(inner) in _CONTAINERS:
                    stack.append(inner)
        elif type(value) is UnreadMessages:
            stack += [inner for inner in value if type(inner) in _CONTAINERS]
    return noted


def _note(noted: _Noted, names: Names, kind: int, place: dict[str, Any], name: str) -> None:
    """Note what a field that may refer to something holds."""
    value = place[name]
    if kind == _NEVER:
        if value:
            noted.ids.append((name, str(value) if isinstance(value, str) else name))
        return
    if kind == _FORGOTTEN:
        noted.forgotten.append((place, name))
        return
    if kind in (_URL, _HOLDER) and type(value) in _CONTAINERS:
        noted.urls += _urls_that_call_themselves_cited(names, value)
    if kind in (_STORED, _HOLDER, _ID) and type(value) is dict:
        noted.ids += [(name, text) for key in value if squashed(key) == "id" and isinstance(text := value[key], str)]
    if kind == _HOLDER and isinstance(value, str) and _LIKE_AN_ID.match(value):
        if not _is_public(names, place, name):
            noted.ids.append((name, value))
        return
    if kind == _HOLDER and squashed(name) not in _MAYBE_URL:
        return
    texts: Iterable[Any] = value if type(value) is list else (value,)
    strings = [text for text in texts if isinstance(text, str)]
    if kind == _FILE_URI:
        noted.file_uris += [(name, text) for text in strings]
    elif kind in (_URL, _HOLDER):
        if _is_public(names, place, name):
            return
        perhaps = squashed(name) in _MAYBE_URL
        noted.urls += [
            text for text in strings if text[:5].lower() != "data:" and not (perhaps and ":" not in text[:32])
        ]
    elif not _is_public(names, place, name):
        noted.ids += [(name, text) for text in strings]


def _is_public(names: Names, place: Mapping[str, Any], name: str) -> bool:
    return place.get("type") in names.public.get(squashed(name), ())


def _urls_that_call_themselves_cited(names: Names, value: Any) -> list[str]:
    """URLs in an object that stands where a server looks for one to fetch: whatever it calls itself, it is no citation."""
    return [
        text
        for inner in (value if type(value) is list else (value,))
        if type(inner) is dict and inner.get("type") is not None
        for name, text in inner.items()
        if isinstance(text, str) and names.kind_of(name) == _URL and _is_public(names, inner, name)
    ]


_MAYBE_URL = frozenset(_PERHAPS_URLS.split())


def _refuse_stored_file(name: str, uri: str) -> None:
    """A file that lies in a bucket of the provider's account, or whose URI is written in another way, is nobody's here."""
    plain = uri
    for _ in range(_MAX_DECODINGS):
        decoded = unquote(plain)
        if decoded == plain:
            break
        plain = decoded
    else:
        raise stored_not_found(name)
    plain = plain.strip().replace("\\", "/").lower()
    scheme, _, rest = plain.partition("://")
    host = rest.partition("/")[0]
    if scheme not in ("http", "https") or "/files/" in rest or "generativelanguage" in host:
        raise stored_not_found(name)
