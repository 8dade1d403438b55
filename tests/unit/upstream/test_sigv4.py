"""Signatures: AWS's own examples, and whatever botocore would sign."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.aws.sigv4 import Credentials, signed_headers

# docs.aws.amazon.com, Signature Version 4 test suite: get-vanilla, post-vanilla, post-sts-header-before
EXAMPLE = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
AT_S = 1440938160.0


@pytest.mark.parametrize(
    ("method", "signature"),
    [
        ("GET", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ],
)
def test_awss_own_examples(method: str, signature: str) -> None:
    headers = signed_headers(
        EXAMPLE, "us-east-1", "service", method=method, host="example.amazonaws.com", path="/", body=b"", now_s=AT_S
    )

    assert headers == {
        b"x-amz-date": b"20150830T123600Z",
        b"authorization": b"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        b"SignedHeaders=host;x-amz-date, Signature=" + signature.encode(),
    }


@given(
    # No model is called by dots alone: they would lead elsewhere, and no route takes them.
    segment=st.text(
        st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/?#%"), min_size=1, max_size=40
    ).filter(lambda segment: segment.strip(".") != ""),
    body=st.binary(max_size=50),
    token=st.one_of(st.none(), st.text(st.sampled_from("abcXYZ/+="), min_size=1, max_size=30)),
)
def test_what_botocore_would_sign(segment: str, body: bytes, token: str | None) -> None:
    from urllib.parse import quote  # noqa: PLC0415

    from botocore.auth import SigV4Auth  # noqa: PLC0415
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import Credentials as Theirs  # noqa: PLC0415

    path = f"/model/{quote(segment, safe='')}/converse"
    credentials = Credentials("AKID", "secret/with+signs", token)
    now_s = time.time()
    ours = signed_headers(
        credentials, "eu-west-1", "bedrock", method="POST", host="bedrock.invalid", path=path, body=body, now_s=now_s
    )
    request = AWSRequest("POST", f"https://bedrock.invalid{path}", data=body)
    request.context["timestamp"] = ours[b"x-amz-date"].decode()
    signer = SigV4Auth(Theirs("AKID", "secret/with+signs", token), "bedrock", "eu-west-1")
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    if token:
        request.headers["X-Amz-Security-Token"] = token

    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)

    assert ours[b"authorization"].endswith(signature.encode())
