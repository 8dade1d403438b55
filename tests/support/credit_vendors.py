"""A fake of Runway, Stability and ElevenLabs, with a bill of its own. It shares no code with the product.

What becomes of a task stands in its prompt or text (`nonce=7 end=failed after=0.2`), so that a test decides it:

| vendor | what it takes | orders |
|---|---|---|
| Runway | credits a second or an image, at its creation; given back where it fails | `end=done`, `failed`, `moderated` (kept), `cheaper=3` credits less than estimated, `silent` (a version that names no cost); `gone`: cancelled, it is paid and forgotten |
| Stability | credits for each image that was made | `end=done`, `filtered` (blurred, and paid), `moderated`, `broken` |
| ElevenLabs | credits for the characters, by model and voice; else by the second or the call | `end=done`, `broken`; `seconds=7`: how long a recording is |

`GET /bill`: USD by nonce. `GET /seen`: the requests: path, query and some headers.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from tests.support.http_server import Handler, serve_forever

CENT = Decimal("0.01")
RUNWAY_CREDITS = {"act_two": 5, "gen4.5": 12, "gen4_turbo": 5, "veo3.1": 40, "kling_4": 14, "own_price": 9}
RUNWAY_SECONDS = {"voice_dubbing": 2, "speech_to_speech": 3, "voice_isolation": 6}
"""Seconds for a credit; how long a recording is, the end of its address says."""
RUNWAY_SILENT = {"veo3.1": 20}
RUNWAY_IMAGES = {"gen4_image": {"720": 5, "1080": 8}, "gen4_image_turbo": {"720": 2, "1080": 2}}
STABILITY_CREDITS = {
    "generate/ultra": Decimal(8), "generate/core": Decimal(3), "sd3.5-large": Decimal("6.5"), "sd3.5-medium": Decimal("3.5"),
    "upscale/creative": Decimal(60), "upscale/fast": Decimal(2), "edit/erase": Decimal(5), "control/style": Decimal(5),
    "edit/replace-background-and-relight": Decimal(8), "image-to-video": Decimal(20), "3d/stable-fast-3d": Decimal(10),
    "audio/stable-audio-2/text-to-audio": Decimal(20), "audio/stable-audio-2/audio-to-audio": Decimal(20),
}  # fmt: skip
ELEVEN_CREDIT = Decimal("0.00008")
ELEVEN_HALF = ("eleven_flash_v2_5", "eleven_turbo_v2_5")
DEAR_VOICE = "apexTwice"
"""A voice that takes two credits for one."""
ELEVEN_SECONDS = {"scribe_v2": Decimal("0.22") / 3600, "music_v1": Decimal("0.30") / 60,
                  "eleven_english_sts_v2": Decimal("0.12") / 60, "audio-isolation": Decimal("0.12") / 60,
                  "dubbing": Decimal("0.33") / 60}  # fmt: skip

PICTURE = b"\x89PNG\r\n\x1a\n" + b"picture" * 50
_LOCK = threading.Lock()
BILL: dict[str, Decimal] = {}
SEEN: list[dict[str, Any]] = []
TASKS: dict[str, dict[str, Any]] = {}
GATE = threading.Event()
"""What a stream waits for behind its first bytes (`GET /go`)."""


def orders_in(text: str) -> dict[str, str]:
    return dict(re.findall(r"\b(\w+)=([\w.-]+)", text))


def words_of(body: dict[str, Any]) -> str:
    """All that is written in a body, without recordings."""
    return re.sub(r"data:[^'\"]*", "", str(body))


def charge(nonce: str, usd: Decimal) -> None:
    with _LOCK:
        BILL[nonce] = usd


def begin(kind: str, orders: dict[str, str], **facts: Any) -> dict[str, Any]:
    with _LOCK:
        task = {"id": f"{kind}-{len(TASKS) + 1:06d}", "kind": kind, "orders": orders, "cancelled": False, "deleted": False,
                "due": time.time() + float(orders.get("after", "0")), **facts}  # fmt: skip
        TASKS[task["id"]] = task
    return task


class Requests(Handler):
    def answer_request(self) -> None:
        address = urlsplit(self.path)
        with _LOCK:
            SEEN.append({"method": self.command, "path": address.path, "query": address.query,
                         "version": self.headers.get("x-runway-version"), "accept": self.headers.get_all("accept")})  # fmt: skip
        path = address.path
        if path in ("/bill", "/seen", "/go"):
            GATE.set() if path == "/go" else None
            self.send_json({name: str(usd) for name, usd in BILL.items()} if path == "/bill" else SEEN)
        elif path.startswith("/v2beta/"):
            self.stability(path.removeprefix("/v2beta/"))
        elif self.headers.get("xi-api-key") == "sk-real-eleven":
            self.elevenlabs(path)
        elif self.headers.get("authorization") == "Bearer sk-real-runway":
            self.runway(path.removeprefix("/v1/"))
        else:
            self.read_body()
            self.send_json({"detail": "whose key is this?"}, status=401)

    def form(self) -> dict[str, str]:
        raw = self.read_body()
        boundary = raw.partition(b"\r\n")[0]
        found = {}
        for piece in raw.split(boundary)[1:-1]:
            head, _, data = piece.partition(b"\r\n\r\n")
            name = re.search(rb'name="([^"]+)"', head)
            assert name is not None
            found[name[1].decode()] = data.removesuffix(b"\r\n").decode("latin-1")
        return found

    # Runway

    def runway(self, path: str) -> None:
        if self.command == "POST":
            body = self.read_json()
            orders = orders_in(words_of(body))
            taken = self.runway_credits(path, body)
            end = orders.get("end", "done")
            charged = {"done": taken - int(orders.get("cheaper", "0")), "moderated": taken}.get(end, 0)
            charge(orders.get("nonce", ""), charged * CENT)
            task = begin("task", orders, estimate=taken, charged=charged)
            said = {} if "silent" in str(body.get("promptText")) else {"estimatedCost": {"credits": taken}}
            self.send_json({"id": task["id"], **said})
            return
        found = TASKS.get(path.rpartition("/")[2])
        if found is None or found["deleted"]:
            self.send_json({"error": "no such task"}, status=404)
        elif self.command == "DELETE":
            if "gone" in found["orders"]:  # it ran: nothing is given back, and nobody can fetch it any more
                found["deleted"] = True
            elif time.time() < found["due"]:
                found["cancelled"], found["charged"] = True, 0
                charge(found["orders"].get("nonce", ""), Decimal(0))
            else:
                found["deleted"] = True
            self.send(b"", status=204)
        else:
            self.send_json(self.runway_task(found))

    @staticmethod
    def runway_credits(path: str, body: dict[str, Any]) -> int:
        if path.startswith("recipes/"):
            return 33
        model = body["model"]
        if path == "text_to_speech":  # a credit for 50 characters that have begun
            return -(-len(body["promptText"]) // 50)
        if path in RUNWAY_SECONDS:
            return -(-int(orders_in(words_of(body))["long"]) // RUNWAY_SECONDS[path])
        if path == "sound_effect":
            return 1 if "duration" in body else 2
        if path == "text_to_image":
            sides = [int(side) for side in body["ratio"].split(":")]
            return RUNWAY_IMAGES[model]["1080" if min(sides) > 720 else "720"] * int(body.get("outputCount", 1))
        rate = RUNWAY_SILENT[model] if body.get("audio") is False else RUNWAY_CREDITS[model]
        rate += {"prores": 5}.get(body.get("outputFormat", "mp4"), 0)
        return rate * int(body.get("duration", 10))

    @staticmethod
    def runway_task(task: dict[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = {"id": task["id"], "createdAt": "2026-11-29T06:00:00.000Z"}
        end = task["orders"].get("end", "done")
        silent = "silent" in task["orders"]
        cost = {} if silent else {"cost": {"credits": task["charged"]}}
        if task["cancelled"]:
            return told | {"status": "CANCELLED"} | cost
        if time.time() < task["due"]:
            return told | {"status": "RUNNING", "progress": 0.5, "estimatedCost": {"credits": task["estimate"]}}
        if end == "done":
            return told | {"status": "SUCCEEDED", "output": ["https://cdn.invalid/film.mp4"]} | cost
        code = "SAFETY.INPUT.TEXT" if end == "moderated" else "INTERNAL.BAD_OUTPUT.CODE01"
        return told | {"status": "FAILED", "failure": "it failed", "failureCode": code} | cost

    # Stability

    def stability(self, path: str) -> None:
        wants_json = any("json" in one for one in self.headers.get_all("accept") or [])
        if self.command == "GET":
            task = TASKS.get(path.rpartition("/")[2])
            if task is None:
                self.send_json({"id": "x", "name": "not_found", "errors": ["no such generation"]}, status=404)
            elif time.time() < task["due"]:
                self.send_json({"id": task["id"], "status": "in-progress"}, status=202)
            else:
                self.picture(task["orders"].get("end", "done"), wants_json=wants_json)
            return
        form = self.form()
        orders = orders_in(form.get("prompt", "") + form.get("select_prompt", ""))
        name = path.removeprefix("stable-image/")
        if name == "generate/sd3":
            name = form["model"]
        end = orders.get("end", "done")
        paid = end in ("done", "filtered")
        charge(orders.get("nonce", ""), STABILITY_CREDITS[name] * CENT if paid else Decimal(0))
        if name in ("upscale/creative", "edit/replace-background-and-relight", "image-to-video"):
            self.send_json({"id": begin("gen", orders)["id"]}, status=200 if name == "image-to-video" else 202)
        else:
            self.picture(end, wants_json=wants_json)

    def picture(self, end: str, *, wants_json: bool) -> None:
        if end == "moderated":
            self.send_json({"id": "m", "name": "content_moderation", "errors": ["flagged"]}, status=403)
        elif end == "broken":
            self.send_json({"id": "b", "name": "internal_error", "errors": ["broken"]}, status=500)
        else:
            reason = "CONTENT_FILTERED" if end == "filtered" else "SUCCESS"
            if wants_json:
                image = base64.b64encode(PICTURE).decode()
                self.send_json({"image": image, "finish_reason": reason, "seed": 7})
            else:
                self.send(PICTURE, kind="image/png", finish_reason=reason, seed="7")

    # ElevenLabs

    def elevenlabs(self, path: str) -> None:
        if path == "/v1/models":
            self.send_json([{"model_id": "eleven_v3", "name": "v3", "model_rates": {"character_cost_multiplier": 1.0}}])
        elif path in ("/v1/voices", "/v2/voices"):
            self.send_json({"voices": [{"voice_id": "calm", "name": "Calm"}], "has_more": False, "total_count": 1})
        elif path == "/v1/user/subscription":
            self.send_json({"tier": "payg", "character_count": 1, "character_limit": 9})
        elif path.startswith("/v1/dubbing"):
            self.dubbing(path)
        elif path.startswith(("/v1/text-to-speech/", "/v1/text-to-dialogue")):
            self.speech(path)
        elif path.startswith(("/v1/sound-generation", "/v1/music")):
            self.sound(path, self.read_json())
        else:
            self.heard(path, self.form())

    def speech(self, path: str) -> None:
        body = self.read_json()
        text = body["text"] if "text" in body else "".join(one["text"] for one in body["inputs"])
        orders = orders_in(text)
        if orders.get("end") == "broken":
            charge(orders.get("nonce", ""), Decimal(0))
            self.send_json({"detail": {"status": "system_busy", "message": "busy"}}, status=429)
            return
        taken = -(-len(text) // 2) if body["model_id"] in ELEVEN_HALF else len(text)
        taken *= 2 if DEAR_VOICE in path else 1
        charge(orders.get("nonce", ""), taken * ELEVEN_CREDIT)
        headers = {} if "untold" in orders else {"character_cost": str(taken)}
        if path.endswith("/stream/with-timestamps"):
            self.pieces([json.dumps({"audio_base64": "AAAA"}).encode() + b"\n"] * 3, "application/json", headers)
        elif path.endswith("/stream"):
            if "gated" in orders:
                GATE.clear()
            self.pieces([b"\xff\xfbsound" * 10] * 3, "audio/mpeg", headers, gated="gated" in orders)
        elif path.endswith("/with-timestamps"):
            self.send(json.dumps({"audio_base64": "AAAA", "alignment": None}).encode(), **headers)
        else:
            self.send(b"\xff\xfbsound" * 100, kind="audio/mpeg", **headers)

    def pieces(self, pieces: list[bytes], kind: str, headers: dict[str, str], *, gated: bool = False) -> None:
        self.send_response(200)
        for name, value in {"content-type": kind, "transfer-encoding": "chunked", **headers}.items():
            self.send_header(name.replace("_", "-") if name != "transfer-encoding" else name, value)
        self.end_headers()
        for number, piece in enumerate(pieces):
            if gated and number == 1:
                GATE.wait(20)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def sound(self, path: str, body: dict[str, Any]) -> None:
        orders = orders_in(str(body.get("text") or body.get("prompt") or ""))
        length = Decimal(body.get("music_length_ms") or int(orders.get("seconds", "0")) * 1000) / 1000
        usd = Decimal("0.12") if "sound" in path else ELEVEN_SECONDS["music_v1"] * length
        charge(orders.get("nonce", ""), usd)
        # frames of MPEG 1 layer 3 at 128 kbit/s and 48 kHz: 24 ms each
        self.send((b"\xff\xfb\x94\x00" + b"\x00" * 380) * max(int(length * 1000) // 24, 1), kind="audio/mpeg")

    def heard(self, path: str, form: dict[str, str]) -> None:
        orders = orders_in(form.get("file", "") + form.get("audio", ""))
        model = form.get("model_id", "audio-isolation")
        length = Decimal(orders.get("seconds", "1"))
        charge(orders.get("nonce", ""), ELEVEN_SECONDS[model] * length)
        if path == "/v1/speech-to-text":
            self.send_json({"language_code": "en", "language_probability": 1.0, "text": "hello", "words": [],
                            "audio_duration_secs": float(length)})  # fmt: skip
        else:
            self.send(b"\xff\xfbvoice" * 20, kind="audio/mpeg")

    def dubbing(self, path: str) -> None:
        if self.command == "POST":
            form = self.form()
            orders = orders_in(form["file"])
            length = Decimal(orders.get("seconds", "10"))
            paid = orders.get("end", "done") == "done"
            charge(orders.get("nonce", ""), ELEVEN_SECONDS["dubbing"] * length if paid else Decimal(0))
            task = begin("dub", orders, length=length)
            self.send_json({"dubbing_id": task["id"], "expected_duration_sec": float(length)})
        elif path == "/v1/dubbing":
            dubs = [self.dub(task) for task in TASKS.values() if task["kind"] == "dub" and not task["deleted"]]
            self.send_json({"dubs": dubs, "has_more": False, "next_cursor": None})
        else:
            task = TASKS.get(path.split("/")[3], {})
            if not task or task["deleted"]:
                self.send_json({"detail": {"status": "not_found"}}, status=404)
            elif self.command == "DELETE":
                task["deleted"] = True
                self.send_json({"status": "ok"})
            elif "/audio/" in path:
                self.send(b"\xff\xfbdub" * 20, kind="audio/mpeg")
            else:
                self.send_json(self.dub(task))

    @staticmethod
    def dub(task: dict[str, Any]) -> dict[str, Any]:
        end = {"done": "dubbed"}.get(task["orders"].get("end", "done"), "failed")
        status = end if time.time() >= task["due"] else "dubbing"
        about = {"content_type": "audio/mpeg", "duration": float(task["length"])}
        return {"dubbing_id": task["id"], "name": "dub", "status": status, "target_languages": ["es"],
                "source_language": "en", "created_at": "2026-11-29T06:00:00Z", "media_metadata": about,
                "editable": False}  # fmt: skip


if __name__ == "__main__":
    serve_forever(Requests)
