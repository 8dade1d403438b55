"""What a person who starts Taximeter by hand is told: where it is, the key (once), and a line to paste."""

from __future__ import annotations


def banner(*, data_url: str, admin_url: str, model: str | None, key: str | None, ledger: str) -> str:
    """The start-up text. `key` is only there at the very first start; later it cannot be shown again."""
    shown = key or "<your key>"
    lines = ["", f"  Taximeter is running: {data_url}   page, API and metrics: {admin_url}", f"  Ledger: {ledger}", ""]
    if key:
        lines += ["  Your first key, shown this once (`taximeter keys create` makes more):", ""]
    else:
        lines += ["  Use the key that the first start showed, or make another: `taximeter keys create NAME`", ""]
    lines += [
        f"    export OPENAI_BASE_URL={data_url}/v1 OPENAI_API_KEY={shown}",
        f"    export ANTHROPIC_BASE_URL={data_url} ANTHROPIC_API_KEY={shown}",
        "",
    ]
    if model:
        body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Say hi"}}], "max_completion_tokens": 20}}'
        lines += [
            "  Try it:",
            "",
            f"    curl -i {data_url}/v1/chat/completions -H 'authorization: Bearer {shown}' \\",
            f"      -H 'content-type: application/json' -d '{body}'",
            "",
            "  What it cost: the x-taximeter-cost-usd header above, or `taximeter spend --by model`",
            "",
        ]
    return "\n".join(lines)
