"""A program of its own that asks AWS's own library for credentials: profiles, roles, web identities, containers, machines.

    python -m proxy.upstream.aws.login < settings.json

It reads an upstream's `params` and answers as AWS's `credential_process` does. botocore takes a second and some 30 MB, asks
hosts and reads files of its own choice: none of that is wanted in a data plane, which needs four strings once an hour.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

_SESSION = "taximeter"
_TIMEOUT_S = 10


def main() -> int:
    """Exit code 1 and one line on stderr where there are none."""
    logging.getLogger("botocore").setLevel(logging.CRITICAL)
    try:
        answer = credentials(json.load(sys.stdin))
    except Exception as error:  # noqa: BLE001 - whatever AWS's library raises
        sys.stderr.write(f"{type(error).__name__}: {str(error)[:500]}\n")
        return 1
    json.dump(answer, sys.stdout)
    return 0


def credentials(params: dict[str, Any]) -> dict[str, Any]:
    """By LiteLLM's names: `aws_profile_name`, `aws_role_name` (assumed with what else there is, or with
    `aws_web_identity_token`, a token or its file), `aws_session_name`, `aws_external_id`, `aws_sts_endpoint`."""
    import botocore.session  # noqa: PLC0415 - comes with an extra

    session = botocore.session.Session(profile=params.get("aws_profile_name"))
    if params.get("aws_access_key_id"):
        session.set_credentials(
            params["aws_access_key_id"], params.get("aws_secret_access_key", ""), params.get("aws_session_token")
        )
    if role := params.get("aws_role_name"):
        return _of_role(session, role, params)
    resolved = session.get_credentials()
    if resolved is None:
        raise LookupError("no AWS credentials: neither in the environment, nor a profile, nor a role of this machine")
    frozen = resolved.get_frozen_credentials()
    expires = getattr(resolved, "_expiry_time", None)
    return _answer(frozen.access_key, frozen.secret_key, frozen.token, expires.isoformat() if expires else None)


def _of_role(session: Any, role: str, params: dict[str, Any]) -> dict[str, Any]:
    from botocore.config import Config  # noqa: PLC0415 - the same

    asked = {"RoleArn": role, "RoleSessionName": params.get("aws_session_name") or _SESSION}
    token = params.get("aws_web_identity_token")
    config: dict[str, Any] = {"connect_timeout": _TIMEOUT_S, "read_timeout": _TIMEOUT_S, "retries": {"max_attempts": 1}}
    if token:
        from botocore import UNSIGNED  # noqa: PLC0415 - the same

        config["signature_version"] = UNSIGNED
        asked["WebIdentityToken"] = _token(str(token))
    elif params.get("aws_external_id"):
        asked["ExternalId"] = params["aws_external_id"]
    sts = session.create_client(
        "sts",
        region_name=params.get("aws_region_name") or session.get_config_variable("region") or "us-east-1",
        endpoint_url=params.get("aws_sts_endpoint"),
        config=Config(**config),
    )
    assumed = (sts.assume_role_with_web_identity if token else sts.assume_role)(**asked)["Credentials"]
    return _answer(
        assumed["AccessKeyId"], assumed["SecretAccessKey"], assumed["SessionToken"], assumed["Expiration"].isoformat()
    )


def _token(value: str) -> str:
    """A token, or what the file of that name has; `oidc/file/` before it, as LiteLLM has it, changes nothing."""
    path = Path(value.removeprefix("oidc/file/"))
    return path.read_text(encoding="ascii").strip() if len(value) < 4096 and path.is_file() else value


def _answer(key: str, secret: str, token: str | None, expires: str | None) -> dict[str, Any]:
    return {"Version": 1, "AccessKeyId": key, "SecretAccessKey": secret, "SessionToken": token, "Expiration": expires}


if __name__ == "__main__":
    sys.exit(main())
