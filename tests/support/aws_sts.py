"""A fake of AWS's STS: a role's credentials, for who signed with a key that may have it, or shows a token. Standard library only."""

from __future__ import annotations

from urllib.parse import parse_qs

from tests.support.aws_signatures import wrong_signature
from tests.support.http_server import Handler

_KEY, _SECRET, _TOKEN = "ASIAROLEEXAMPLE", "role/secret+of-the-tests", "FwoGZXIvYXdzEXAMPLETOKEN//////////"
ROLE, WEB_TOKEN = "arn:aws:iam::123456789012:role/callers", "a.web.identity"
ROLE_SECRETS = {_KEY: (_SECRET, _TOKEN)}


def give_role(request: Handler, data: bytes, key: str, secret: str, region: str) -> None:
    """Answer AssumeRole and AssumeRoleWithWebIdentity. key, secret: whose signature may have the role."""
    asked = {name: values[0] for name, values in parse_qs(data.decode()).items()}
    action = asked["Action"]
    if action == "AssumeRole":
        wrong = wrong_signature(request, data, {key: (secret, "")}, region, "sts")
    else:
        wrong = "" if asked.get("WebIdentityToken") == WEB_TOKEN else "the token is not known"
    if wrong or asked["RoleArn"] != ROLE:
        error = f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{wrong}</Message></Error></ErrorResponse>"
        request.send(error.encode(), kind="text/xml", status=403)
        return
    given = (
        f"<Credentials><AccessKeyId>{_KEY}</AccessKeyId><SecretAccessKey>{_SECRET}</SecretAccessKey>"
        f"<SessionToken>{_TOKEN}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
        "<PackedPolicySize>6</PackedPolicySize>"
    )
    namespace = "https://sts.amazonaws.com/doc/2011-06-15/"
    answer = f'<{action}Response xmlns="{namespace}"><{action}Result>{given}</{action}Result></{action}Response>'
    request.send(answer.encode(), kind="text/xml")
