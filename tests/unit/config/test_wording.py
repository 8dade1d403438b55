"""Problems of form in a person's words: what was meant, on which line, each once."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.checks import load_config
from proxy.config.file import Lines
from proxy.config.problems import ConfigError


def told(folder: Path, text: str) -> list[str]:
    file = folder / "taximeter.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(file, {})
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("serverr: {}", "serverr (line 1): is not a setting; did you mean server?"),
        ("server: {prot: 1}", "server.prot (line 1): is not a setting; did you mean port?"),
        ("upstreams:\n  a:\n    base_url: http://x\n    dialekt: openai", "upstreams.a.dialekt (line 4): is not a setting; did you mean dialect?"),
        ("upstreams: {a: {base_url: 'http://x'}}\nmodels: {m: {upstream: a, fallback: []}}", "models.m.fallback (line 2): is not a setting; did you mean fallbacks?"),
        ("keys:\n- {name: a, key: sk-0123456789abcdef, modells: [x]}", "keys[0].modells (line 2): is not a setting; did you mean models?"),
        ("guards: {loop: {repeats: 3, within_s: 1, within: 2}}", "guards.loop.within (line 1): is not a setting; did you mean within_s?"),
        ("zzz: 1", "zzz (line 1): is not a setting; check its spelling"),
        ("budgets:\n- {name: a, per: session, limit_usd: 1, window: day}", "budgets[0].per (line 2): must be a list: write [session]"),
        ("budgets: {a: {}}", "budgets (line 1): must be a list: each row begins with `- `, and its name stands in it as `name: …`"),
        ("models: []", "models (line 1): must be a mapping: `name: value`, and no list"),
        ("budgets:\n- {name: a, limit_usd: 1, window: mounth}", "budgets[0].window (line 2): must be one of minute, hour, day, week, month, total; did you mean month?"),
        ("on_unpriced: zero", "on_unpriced (line 1): must be refuse, allow, or a price to assume such as {input: '15', output: '75'}"),
        ("keys: [{name: a, key: '${NO_SUCH}'}]", "keys[0].key (line 1): the environment variable NO_SUCH is not set; set it, or write ${NAME:-default}"),
        ("upstreams: {openai: {base_url: 'http://x'}}\nmodels:\n  m: {upstream: openia}", "models.m.upstream (line 3): 'openia' is not an upstream (there are: openai); did you mean openai?"),
        ("budgets: [{name: a, per: [temas], limit_usd: 1, window: day}]", "is not one of key, team, user, customer, model, upstream, provider, agent, session or label.NAME; did you mean team?"),
        ("keys: [{name: no, key: sk-0123456789abcdef}]", "keys[0].name (line 1): must be text: put it in quotes"),
        ("keys: [{name: a, key: 1234567890123456}]", "keys[0].key (line 1): must be text: put it in quotes"),
        ("keys: [{name: , key: sk-0123456789abcdef}]", "keys[0].name (line 1): is empty"),
        ("keys: [{name: a, key_sha256: abc}]", "keys[0].key_sha256 (line 1): must be the SHA-256 of the secret: 64 hexadecimal digits"),
        ("keys: [{name: " + "a" * 201 + ", key: sk-0123456789abcdef}]", "keys[0].name (line 1): must have at most 200 characters"),
        ("exports: [{type: file, path: x, name: a b}]", "exports[0].name (line 1): may have letters, digits, `.`, `_` and `-`"),
        ("server: {public_url: 'gateway.example'}", "server.public_url (line 1): must be http(s)://host[:port][/path]"),
        ("server: {port: many}", "server.port (line 1): must be a whole number"),
        ("server: {max_body_mb: many}", "server.max_body_mb (line 1): must be a number"),
        ("keys: [{name: a, key: sk-0123456789abcdef, trust_labels: perhaps}]", "keys[0].trust_labels (line 1): must be true or false"),
        ("budgets: [{name: a, limit_usd: 1, window: day, alert_at: [80]}]", "budgets[0].alert_at[0] (line 1): must be a share of the limit: 0.8 is 80 %"),
        ("keys: [{name: a, key: '${NO_SUCH'}]", "keys[0].key (line 1): has a ${ that begins no reference; write ${NAME}, ${NAME:-default} or ${file:PATH}"),
        ("upstreams: {a: {base_url: 'http://x', api_key: '${NO_SUCH:?}'}}", "upstreams.a.api_key (line 1): has a ${ that begins no reference; write ${NAME}, ${NAME:-default} or ${file:PATH}"),
        ("upstreams: {a: {base_url: 'http://x', api_key: $NO_SUCH}}", "upstreams.a.api_key (line 1): $NO_SUCH is not replaced; write ${NO_SUCH}"),
        ("server: {header_timeout_s: 0}", "server.header_timeout_s (line 1): must be more than 0 seconds: there is none that never ends; for the longest write 86400"),
        ("upstreams: {a: {base_url: 'http://x', idle_timeout_s: 0}}", "upstreams.a.idle_timeout_s (line 1): must be more than 0 seconds: there is none that never ends; for the longest write 86400"),
        ("upstreams: {a: {base_url: 'http://x', idle_timeout_s: -1}}", "upstreams.a.idle_timeout_s (line 1): must be more than 0 seconds"),
        ("upstreams: {a: {base_url: 'http://x', idle_timeout_s: 300000}}", "upstreams.a.idle_timeout_s (line 1): must be at most 86400 seconds; if milliseconds are meant, 300"),
        ("server: {max_body_mb: 33554432}", "server.max_body_mb (line 1): must be at most 1024 megabytes; if bytes are meant, 32"),
        ("server: {max_head_kb: 65536}", "server.max_head_kb (line 1): must be at most 1024 kilobytes; if bytes are meant, 64"),
        ("server:\n\tport: 1", "taximeter.yaml:2:1: there is a tab; YAML is indented by blanks"),
        ("server:\n  port: 1\n host: x", "taximeter.yaml:3:2: its indentation fits no line above: names and rows that belong together begin in the same column"),
        ("budgets:\n  - name: a\n  limit_usd: 5", "taximeter.yaml:3:3: its indentation fits no line above: names and rows that belong together begin in the same column"),
        ("models: {a: {upstream: b: c}}", "taximeter.yaml:1:25: the `{` on line 1 is not closed, or a comma is missing; a text with a bracket or brace in it, such as ${NAME}, goes in quotes"),
        ("budgets:\n- {name: a, per: [team, limit_usd: 5}", "taximeter.yaml:2:37: the `[` on line 2 is not closed, or a comma is missing; a text with a bracket or brace in it, such as ${NAME}, goes in quotes"),
        ("keys:\n- {name: a, key: ${KEY}}", "taximeter.yaml:2:19: the `{` on line 2 is not closed, or a comma is missing; a text with a bracket or brace in it, such as ${NAME}, goes in quotes"),
        ("upstreams:\n  a: base_url: x", "taximeter.yaml:2:14: no `name:` can stand here: this line has one already, or is indented too far, or the line above lacks its `:`; a text with `: ` in it goes in quotes"),
        ("server: {port: 1,, host: x}", "taximeter.yaml:1:18: a value is missing here, or a bracket above is not closed"),
        ("models:\n  *: {upstream: a}", "taximeter.yaml:2:4: a text that begins with * goes in quotes"),
        ("models:\n  *-mini: {upstream: a}", 'taximeter.yaml:2:3: a text that begins with * goes in quotes: "*-mini"'),
        ("log: @x", "taximeter.yaml:1:6: a text that begins with @ goes in quotes"),
        ("keys:\n- {name: 'a, key: b}\n", "taximeter.yaml:3:1: the quote that begins on line 2 is not closed"),
        ('ledger: "c:\\q"', "taximeter.yaml:1:13: \\q means nothing between double quotes; take single ones"),
        ("log: {}\n---\nlog: {}", "taximeter.yaml:2:1: a second file begins here; leave the `---` out"),
        ("log: {}\nledger: a\x07b", "taximeter.yaml:2: there is a character that no text has (code 7); take it out"),
        ("server:\n\u00a0\u00a0port: 1", "port (line 2): is not a setting: beside it stands what looks like a blank and is none; type the blanks anew"),
        ("upstreams:\na: {base_url: 'http://x'}", "a (line 2): is not a setting; check its spelling; what belongs to a section is indented"),
        ("ledger: !env LEDGER", "taximeter.yaml:1:9: the tag !env is not understood; write the value itself, or ${NAME} for one from the environment"),
    ],
)  # fmt: skip
def test_one_fault_is_one_line_that_says_what_was_meant(tmp_path: Path, text: str, says: str) -> None:
    (problem,) = told(tmp_path, text)

    assert problem.endswith(says)


def test_a_name_that_is_no_setting_is_told_beside_the_variable_below_it_that_is_not_set(tmp_path: Path) -> None:
    lines = told(tmp_path, "upstream: {openai: {base_url: 'https://x', api_key: '${NO_SUCH}'}}")

    assert len(lines) == 2
    assert any(line.endswith("upstream (line 1): is not a setting; did you mean upstreams?") for line in lines)
    assert any("NO_SUCH is not set" in line for line in lines)


def test_a_file_in_another_encoding_is_called_that_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "taximeter.yaml"
    file.write_bytes("log: {}\nkeys: [{name: café, key: sk-0123456789abcdef}]\n".encode("latin-1"))

    with pytest.raises(ConfigError, match=r"is not UTF-8 \(the byte 0xe9 on line 2\); save it as UTF-8"):
        load_config(file, {})


def test_rows_can_be_merged_and_what_stands_in_a_row_wins(tmp_path: Path) -> None:
    file = tmp_path / "taximeter.yaml"
    file.write_text("budgets:\n- &a {name: a, limit_usd: 1, window: day}\n- {<<: *a, name: b, window: month}\n")

    (_, second) = load_config(file, {})[0].budgets

    assert (second.name, str(second.limit_usd), second.window) == ("b", "1", "month")


def test_a_file_of_litellm_s_is_called_that(tmp_path: Path) -> None:
    lines = told(
        tmp_path,
        "model_list:\n- {model_name: m, litellm_params: {api_key: os.environ/NO_SUCH}}\ngeneral_settings: {}\nrouter_settings: {}",
    )

    assert len(lines) == 3
    assert all("is a setting of LiteLLM" in line and "taximeter import litellm" in line for line in lines)


def test_every_path_has_its_line_and_what_is_missing_that_of_its_row() -> None:
    lines = Lines("a:\n  b: &x\n  - c: 1\n  - d: 2\ne: *x\n'f.g': 1\n")

    assert [lines.of(path) for path in ("a", "a.b", "a.b[0].c", "a.b[1].d", "a.b[1].z", "e", "f.g", "z", "")] == [
        1, 2, 3, 4, 4, 5, 6, None, None,
    ]  # fmt: skip


def test_aliases_of_aliases_are_read_once() -> None:
    levels = "\n".join(f"l{n}: &l{n} [*l{n - 1}, *l{n - 1}, *l{n - 1}]" for n in range(1, 40))

    assert Lines(f"l0: &l0 [x]\n{levels}").of("l39") == 40
    assert Lines("a: &a [*a]").of("a") == 1
    assert Lines("{ not: yaml").of("not") is None
