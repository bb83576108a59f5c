"""Bodies that are no JSON of ours: not JSON at all, too deep, too many, in another encoding."""

import json

import pytest

from tests.hostile.scene import CHAT, COMPLETIONS, Scene
from tests.pictures import chat

SETTINGS = {"http": {"max_body": 8 * 1024**2}}
GOOD = b'{"model":"demo","messages":[{"role":"user","content":"hi"}]'
DEEP = 100_000

NOT_JSON = {
    "nothing": b"",
    "spaces": b"   ",
    "a word": b"hello",
    "half an object": GOOD,
    "something behind": GOOD + b"} x",
    "another object behind": GOOD + b"}" + GOOD + b"}",
    "lines of objects": GOOD + b"}\n" + GOOD + b"}\n",
    "a comma too many": GOOD + b",}",
    "a comment": b"/* a */" + GOOD + b"}",
    "single quotes": b"{'model':'demo'}",
    "names without quotes": b"{model:1}",
    "NaN": GOOD + b',"temperature":NaN}',
    "Infinity": GOOD + b',"temperature":Infinity}',
    "-Infinity": GOOD + b',"temperature":-Infinity}',
    "a number in hex": GOOD + b',"max_tokens":0x10}',
    "a number with a plus": GOOD + b',"max_tokens":+1}',
    "a number with a zero before": GOOD + b',"max_tokens":01}',
    "a number ending in a point": GOOD + b',"temperature":1.}',
    "a number beyond floats": GOOD + b',"temperature":1e999}',
    "True": GOOD + b',"stream":True}',
    "UTF-8 with a mark": b"\xef\xbb\xbf" + GOOD + b"}",
    "UTF-16": (GOOD + b"}").decode().encode("utf-16"),
    "UTF-16 without a mark": (GOOD + b"}").decode().encode("utf-16-le"),
    "UTF-32": (GOOD + b"}").decode().encode("utf-32"),
    "Latin-1": GOOD + b',"user":"\xe9"}',
    "overlong UTF-8": GOOD + b',"user":"\xc0\xaf"}',
    "a surrogate in UTF-8": GOOD + b',"user":"\xed\xa0\x80"}',
    "beyond Unicode": GOOD + b',"user":"\xf4\x90\x80\x80"}',
    "a lone surrogate": GOOD + b',"user":"\\ud800"}',
    "surrogates the wrong way": GOOD + b',"user":"\\udc00\\ud800"}',
    "half an escape": GOOD + b',"user":"\\u12"}',
    "an unknown escape": GOOD + b',"user":"\\x41"}',
    "a raw line break in a string": GOOD + b',"user":"a\nb"}',
    "NUL in a string": GOOD + b',"user":"a\x00b"}',
    "NUL behind": GOOD + b"}\x00",
    "an array": b"[" + GOOD + b"}]",
    "a string": b'"hello"',
    "null": b"null",
    "a number": b"1",
    "true": b"true",
    "arrays, 100,000 deep": b"[" * DEEP + b"]" * DEEP,
    "objects, 100,000 deep": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "a field, 100,000 deep": GOOD + b',"metadata":{"a":' + b"[" * DEEP + b"]" * DEEP + b"}}",
    "arrays without end": b"[" * 1_000_000,
    "objects without end": b'{"a":' * 500_000,
    "a string without end": b'{"model":"' + b"a" * 4_000_000,
    "2,500,000 empty arrays": b'{"model":[' + b"[]," * 2_500_000 + b"[]]}",
    "1,000,000 empty objects": b'{"metadata":[' + b"{}," * 1_000_000 + b"{}]}",
    "3,000,000 numbers": b'{"prompt":[' + b"1," * 3_000_000 + b"1]}",
    "a form": b"model=demo&messages=hi",
    "multipart": b'--a\r\nContent-Disposition: form-data; name="model"\r\n\r\ndemo\r\n--a--\r\n',
    "XML": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "YAML": b"model: demo\nmessages: !!python/object/apply:os.system [id]\n",
    "a pickle": b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00C\xbf\xa6\xa3\x02\x00\x00\x00",
}


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("name", NOT_JSON)
def test_what_is_no_json_object_is_refused(scene: Scene, name: str, path: str) -> None:
    scene.refused(scene.post(path, NOT_JSON[name]), 400, "invalid_json")


def test_of_a_name_given_twice_the_engine_sees_what_was_checked(scene: Scene) -> None:
    """Two parsers may each take another one of them: only ours is there, since it is written anew."""
    body = b'{"model":"x","model":"demo","messages":1,"messages":[{"role":"user","content":"hi"}],"max_tokens":5}'
    assert scene.post(CHAT, body).status_code == 200
    assert [raw.count(b'"model"') for _, raw in scene.engine.seen] == [1]
    assert scene.engine.chats() == [json.loads(body)]
    scene.engine.seen.clear()


def test_a_refused_name_is_refused_wherever_it_is_given(scene: Scene) -> None:
    for body in (b'{"uuid":1,"model":"demo"}', b'{"model":"demo","uuid":1}', b'{"\\u0075uid":1,"model":"demo"}'):
        scene.refused(scene.post(CHAT, body), 400, "field_not_allowed")


def test_names_of_javascripts_and_pythons_are_only_names(scene: Scene) -> None:
    for name in ("__proto__", "constructor", "__class__", "__init__", "self", "", "a" * 1_000_000, "\u0000"):
        error = scene.refused(scene.post(CHAT, chat(**{name: {"admin": True}})), 400, "field_not_allowed")
        assert len(error["message"]) < 1100


def test_a_bodys_own_words_come_back_shortened(scene: Scene) -> None:
    error = scene.refused(scene.post(CHAT, chat(model="m" * 1_000_000)), 404, "model_not_found")
    assert len(error["message"]) < 1100


def test_deep_but_bounded_json_is_taken(scene: Scene) -> None:
    body = GOOD + b',"metadata":{"a":' + b"[" * 100 + b"]" * 100 + b"}}"
    assert scene.post(CHAT, body).status_code == 200
    scene.engine.seen.clear()
