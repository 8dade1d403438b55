"""House rules that tools do not know. Each says what to do in its place, and each is itself tested.

What must break a rule is named in an allow-list with its reason; an entry that is no longer needed is an error too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.house.source import ROOT, Source, dotted, product, sources
from tests.house.test_imports import EDGES, PURE, below
from tests.support.rows import each_row

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 70
ESTIMATES = ("pricing.tokens", "pricing.prompt_tokens")
"""They guess at counts of tokens, by factors; no money passes through them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`where` is what an allow-list names: a path, or `path:function`."""

    where: str
    line: int
    message: str


Rule = Callable[[Source], Iterator[Finding]]


def functions(source: Source) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function with its qualified name (`Class.method`)."""

    def visit(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}{child.name}"
                if not isinstance(child, ast.ClassDef):
                    yield name, child
                yield from visit(child, name + ".")
            else:
                yield from visit(child, prefix)

    yield from visit(source.tree, "")


def function_at(source: Source, line: int) -> str:
    """The innermost function that holds `line`, as an allow-list names it."""
    holding = [(node.lineno, name) for name, node in functions(source) if node.lineno <= line <= (node.end_lineno or 0)]
    return f"{source.path}:{max(holding)[1] if holding else ''}"


def called(node: ast.Call) -> str:
    return dotted(node.func)


# ---- the rules -----------------------------------------------------------------------------------------------------


def long_module(source: Source) -> Iterator[Finding]:
    lines = source.text.count("\n")
    if lines > MAX_MODULE_LINES:
        yield Finding(source.path, 1, f"{lines} lines: split it by subject, at most {MAX_MODULE_LINES}")


def long_function(source: Source) -> Iterator[Finding]:
    for name, node in functions(source):
        lines = (node.end_lineno or 0) - node.lineno + 1
        if lines > MAX_FUNCTION_LINES:
            yield Finding(
                f"{source.path}:{name}", node.lineno, f"{lines} lines: move steps out, at most {MAX_FUNCTION_LINES}"
            )


def clock_in_what_is_pure(source: Source) -> Iterator[Finding]:
    if not below(source.module, PURE) or below(source.module, EDGES):
        return
    clocks = re.compile(r"(time\.(time|monotonic|perf_counter)(_ns)?|(datetime|date)\.(now|utcnow|today))\Z")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and clocks.search(called(node)):
            yield Finding(
                function_at(source, node.lineno), node.lineno, f"{called(node)}(): take the time as an argument"
            )


def clock_that_goes_back(source: Source) -> Iterator[Finding]:
    if not below(source.module, ("proxy",)):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and dotted(node) in ("time.time", "time.time_ns"):
            yield Finding(source.path, node.lineno, "take now_s or now_us of proxy.times, which never go back")


def float_in_prices(source: Source) -> Iterator[Finding]:
    if not below(source.module, ("pricing", "proxy.money", "proxy.budgets.budget")) or below(source.module, ESTIMATES):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and called(node) == "float":
            yield Finding(
                function_at(source, node.lineno), node.lineno, "float(): money and quantities are int or Decimal"
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield Finding(
                function_at(source, node.lineno), node.lineno, f"{node.value}: write it as Decimal('…') or int"
            )


def broad_except(source: Source) -> Iterator[Finding]:
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = ast.unparse(node.type) if node.type else "everything"
        if caught not in ("Exception", "BaseException", "everything"):
            continue
        last = node.body[-1]
        if caught == "BaseException" and isinstance(last, ast.Raise) and last.exc is None:
            continue  # it only cleans up on the way
        yield Finding(function_at(source, node.lineno), node.lineno, f"except {caught}: name what can happen here")


_SECRET = re.compile(
    r"(secret|password|api_?key|admin_key|authorization|credential|bearer|prompt|messages|\bbody)\b", re.IGNORECASE
)
_SHOWS = re.compile(r"(^print|\becho|(^|\.)(log|logger|logging|console)\.\w+)\Z")


def secret_shown(source: Source) -> Iterator[Finding]:
    for node in ast.walk(source.tree):
        if not (isinstance(node, ast.Call) and _SHOWS.search(called(node))):
            continue
        names = {
            inner.id if isinstance(inner, ast.Name) else inner.attr
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]
            for inner in ast.walk(argument)
            if isinstance(inner, ast.Name | ast.Attribute)
        }
        for name in sorted(filter(_SECRET.search, names)):
            yield Finding(
                function_at(source, node.lineno), node.lineno, f"`{name}` goes to a log or a screen: say its name"
            )


def environment_read_inside(source: Source) -> Iterator[Finding]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and dotted(node) in ("os.environ", "os.getenv"):
            yield Finding(
                source.path,
                node.lineno,
                "the environment: take a mapping as an argument; the composition roots have the real one",
            )


def silenced_without_reason(source: Source) -> Iterator[Finding]:
    pattern = re.compile(r"#\s*(noqa|type:\s*ignore)(?P<codes>[:\[][^#]*)?(?P<reason>#.*)?")
    for number, line in enumerate(source.text.splitlines(), 1):
        for match in pattern.finditer(line):
            codes, reason = match["codes"] or "", match["reason"] or ""
            if not re.search(r"[A-Za-z]", codes) or not (re.search(r" - \S", codes) or reason):
                yield Finding(source.path, number, "name the rule that is silenced and why: `# noqa: CODE - reason`")


_EMPTY_WORDS = frozenset({"one", "found", "told"})


def empty_word(source: Source) -> Iterator[Finding]:
    """A comprehension's own name, and a lambda's, may be short and say nothing: they end with the line."""
    passing = {
        id(inner)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.comprehension | ast.Lambda)
        for inner in ast.walk(node.target if isinstance(node, ast.comprehension) else node.args)
    }
    for node in ast.walk(source.tree):
        if id(node) in passing:
            continue
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            name = node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = node.name
        else:
            continue
        if not name.isupper() and name.strip("_").lower() in _EMPTY_WORDS:  # `_ONE` is the number
            yield Finding(source.path, node.lineno, f"`{name}`: name what it is")


def unfinished(source: Source) -> Iterator[Finding]:
    for number, line in enumerate(source.text.splitlines(), 1):
        if re.search(r"#.*\b(TODO|FIXME|XXX|HACK)\b", line):
            yield Finding(source.path, number, "finish it, or write down in DECISIONS.md what is left out and why")


# ---- what may break them, and why ------------------------------------------------------------------------------------

ALLOWED: dict[Rule, dict[str, str]] = {
    long_module: {},
    long_function: {},
    clock_in_what_is_pure: {},
    clock_that_goes_back: {
        "proxy/times.py": "the clock that does not",
        "proxy/upstream/aws/signer.py": "AWS compares it with its own, and keeps none that was wrong once",
    },
    float_in_prices: {
        "pricing/resolve.py:tier_cuts": "token counts, exact to 2^53; a cut between two of them needs a half",
    },
    broad_except: {
        "proxy/serve/supervisor.py:Supervisor._fork": "a child's last word: whatever it was, it is logged and the process ends",
        "proxy/ledger/recording/recorder.py:Recorder._tell": "who listens to the ledger must not stop it: logged, and on",
        "proxy/control/capacity/keeper.py:Keeper._try": "the books wait for the next round; calls and the ledger go on: logged",
        "proxy/control/alerts.py:Alerts._deliver_for_ever": "without this thread nobody is told anything: logged, tried again",
        "proxy/control/auditing.py:Auditor._run": "an audit's last word: logged, and told by its status; none could begin after it",
        "proxy/exports/exporter.py:Exporter.run": "a sink's thread goes on: logged, told by its status, tried again",
        "proxy/exports/running.py:Exports._try": "the next round does it again; calls and the ledger go on: logged",
        "proxy/control/recording.py:Recording._record": "a thread's last word: it is logged and the process ends with it",
        "proxy/exchange/gate.py:StreamGate._pass": "the observer must not break the observed",
        "proxy/exchange/framed_gate.py:FramedGate._observe": "the observer must not break the observed",
        "proxy/upstream/aws/login.py:main": "a process's last word: told to the one that asked",
        "proxy/serve/reading_apart.py:_answer": "a process's last word: raised in the one that asked",
        "proxy/serve/supervisor.py:Supervisor._reload": "what serves goes on by the old configuration: logged, told by /health",
        "proxy/exchange/realtime/session.py:Lane._work": "a session's last word: it is closed as our fault, and logged; others go on",
        "proxy/translate/inline.py:Executor.submit": "what the work raises is handed to who waits for it, as a thread would",
        "proxy/translate/internals.py:_is_listed": "LiteLLM raises a bare Exception for a model it does not know",
        "proxy/translate/native.py:Observed.feed": "the observer must not break the observed",
        "proxy/translate/process.py:Nursery._fork": "a worker's last word: whatever it was, it is logged and the process ends",
        "proxy/translate/server.py:_Call.run": "LiteLLM's exceptions have no root of their own: the caller is told in its dialect",
        "proxy/upstream/connection.py:Connection.data_received": "a fault of who takes is raised in that task, not here",
        "proxy/upstream/response.py:Response._pour": "a fault of who takes is raised in that task, not in the connection's callback",
        "proxy/dataplane/application.py:Application.serve": "the outermost boundary of a call: answered as our fault, without its text",
        "proxy/cohort.py:Member.resume": "what asyncio does with a task that nobody waits for: logged, and the others go on",
        "proxy/downstream/cycle.py:serve_asgi": "the outermost boundary of an ASGI application: its client is told that it failed",
    },
    secret_shown: {
        "proxy/cli/keys.py:create_key": "the one time that a new key is shown",
    },
    environment_read_inside: {
        "proxy/serve/start.py": "the composition root of the supervisor",
        "proxy/serve/supervisor.py": "a reload reads the file anew, with the environment that it names",
        "pricing/tokens.py": "tiktoken is told by it where its files are; TAXIMETER_TOKENIZERS says where they may be unpacked",
        "proxy/cli/check_config.py": "TAXIMETER_CONFIG",
        "proxy/cli/start.py": "TAXIMETER_CONFIG",
        "proxy/serve/local_model.py": "the model's process gets ours, and a folder more",
        "proxy/cli/options.py": "the composition root of the commands beside serve",
        "proxy/dataplane/process.py": "the composition root of a data plane",
        "proxy/translate/process.py": "the composition root of the translator",
    },
    silenced_without_reason: {},
    empty_word: {},
    unfinished: {},
}


@pytest.mark.parametrize("rule", ALLOWED, ids=lambda rule: rule.__name__)
def test_the_product_keeps_the_rule(rule: Rule) -> None:
    """Nothing breaks it but what is allowed to, and what is allowed to still does."""
    findings = [finding for source in product() for finding in rule(source)]
    allowed = ALLOWED[rule]
    broken = [f"{found.where} (line {found.line}): {found.message}" for found in findings if found.where not in allowed]
    stale = [where for where in allowed if where not in {finding.where for finding in findings}]

    assert not broken, "\n" + "\n".join(broken)
    assert not stale, f"take out of ALLOWED what no longer needs to be there: {stale}"


def unchecked_tests(source: Source) -> list[str]:
    """Tests in `source` that neither assert nor expect (an error, or something in the browser), nor call a function of the
    same file that does."""
    expects = re.compile(
        r"\bassert\b|\bpytest\.(raises|fail|warns)\b|\b(assert|check|expect)_\w+\(|\bexpect\(.*\)\.(not_)?to_"
    )
    lines, listed = source.text.splitlines(), list(functions(source))
    checking = {name for name, node in listed if expects.search("\n".join(lines[node.lineno - 1 : node.end_lineno]))}
    calls = {
        name: {called(part) for part in ast.walk(node) if isinstance(part, ast.Call)}
        for name, node in listed
        if name not in checking
    }
    while more := {name for name in calls if calls[name] & checking} - checking:
        checking |= more
    return [
        f"{source.path}:{node.lineno}: {name}"
        for name, node in listed
        if name.rpartition(".")[2].startswith("test_") and name not in checking
    ]


def test_no_test_passes_without_checking() -> None:
    """A test that checks nothing cannot fail."""
    found = [line for source in sources("tests") for line in unchecked_tests(source)]

    assert not found, "\n" + "\n".join(found)


def test_a_test_that_checks_nothing_is_seen() -> None:
    """The check itself, both ways."""
    code = "def good(): assert f()\ndef test_a(): good()\ndef test_b(): f()"

    assert unchecked_tests(Source.parse("tests/test_x.py", code)) == ["tests/test_x.py:3: test_b"]


BROKEN: list[tuple[Rule, str, str]] = [
    (long_module, "proxy/a.py", "x = 1\n" * 401),
    (long_function, "proxy/a.py", "def f():\n" + "    x = 1\n" * 70),
    (clock_in_what_is_pure, "proxy/meters/a.py", "import time\ndef f(): return time.time_ns()"),
    (clock_in_what_is_pure, "pricing/a.py", "now = datetime.datetime.now(tz=UTC)"),
    (clock_that_goes_back, "proxy/a.py", "import time\nx = time.time()"),
    (clock_that_goes_back, "proxy/a.py", "import time\nx = field(default_factory=time.time_ns)"),
    (float_in_prices, "pricing/a.py", "x = float(price)"),
    (float_in_prices, "pricing/a.py", "x = price * 0.5"),
    (broad_except, "proxy/a.py", "try: f()\nexcept Exception: pass"),
    (broad_except, "proxy/a.py", "try: f()\nexcept BaseException:\n    if x: raise\n    g()"),
    (broad_except, "proxy/a.py", "try: f()\nexcept: pass"),
    (secret_shown, "proxy/a.py", "log.info('using %s', upstream.api_key)"),
    (secret_shown, "proxy/a.py", "print(f'{call.body}')"),
    (secret_shown, "proxy/a.py", "typer.echo(secret)"),
    (environment_read_inside, "proxy/a.py", "import os\nx = os.environ['HOME']"),
    (silenced_without_reason, "proxy/a.py", "x = 1  # noqa"),
    (silenced_without_reason, "proxy/a.py", "x = 1  # noqa: S101"),
    (silenced_without_reason, "proxy/a.py", "x = 1  # type: ignore"),
    (silenced_without_reason, "proxy/a.py", "x = 1  # type: ignore[arg-type]"),
    (empty_word, "proxy/a.py", "def f():\n    for one in rows: g(one)"),
    (empty_word, "proxy/a.py", "def f(found): return found"),
    (empty_word, "proxy/a.py", "def told(x): return x"),
    (empty_word, "proxy/a.py", "class A:\n    def f(self): self._told = 1"),
    (unfinished, "proxy/a.py", "x = 1  # TODO: later"),
]


@each_row(("rule", "path", "code"), BROKEN)
def test_a_broken_rule_is_seen(rule: Rule, path: str, code: str) -> None:
    """The check itself: each of these is a violation."""
    assert list(rule(Source.parse(path, code))) != []


KEPT: list[tuple[Rule, str, str]] = [
    (broad_except, "proxy/a.py", "try: f()\nexcept BaseException:\n    g()\n    raise"),
    (broad_except, "proxy/a.py", "try: f()\nexcept OSError: pass"),
    (clock_in_what_is_pure, "proxy/dataplane/application.py", "import time\nx = time.time()"),
    (clock_that_goes_back, "proxy/a.py", "import time\nx = time.monotonic()"),
    (secret_shown, "proxy/a.py", "log.info('the key %s was made', key.name)"),
    (empty_word, "proxy/a.py", "x = max(rows, key=lambda one: one.size), [found for found in rows]"),
    (silenced_without_reason, "proxy/a.py", "x = 1  # noqa: S101 - it is checked above"),
    (silenced_without_reason, "proxy/a.py", "x = 1  # type: ignore[arg-type]  # the stub lacks it"),
]


@pytest.mark.parametrize(("rule", "path", "code"), KEPT)
def test_what_keeps_a_rule_is_left_alone(rule: Rule, path: str, code: str) -> None:
    """The check itself: none of these is a violation."""
    assert list(rule(Source.parse(path, code))) == []


def test_every_rule_is_tested() -> None:
    """No rule without code that breaks it."""
    assert {rule for rule, _, _ in BROKEN} == set(ALLOWED)


@pytest.mark.parametrize("verb", ["install", "run", "quick", "test", "check", "bench", "torture"])
def test_make_explains_every_verb(verb: str) -> None:
    """`make help` prints a line for it."""
    assert re.search(rf"^{verb}:.*## \S", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
