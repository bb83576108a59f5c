import json
from pathlib import Path

import pytest

from server.warm.pictures import NoPicture, Picture, find_pictures, images_of
from tests.pictures import data_url, picture


def found(*inputs: object) -> list[object]:
    return list(find_pictures(map(str, inputs)))


def test_folders_are_walked_in_order_and_pictures_known_by_content(tmp_path: Path) -> None:
    for name, kind in (("b/2.bin", "PNG"), ("b/1.txt", "JPEG"), ("a.webp", "WEBP"), ("c.gif", "GIF")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture(kind))
    (tmp_path / "a.png").write_text("no picture at all")
    (tmp_path / "empty.png").touch()
    told = found(tmp_path)
    paths = [each.path for each in told if isinstance(each, Picture)]
    assert [path and str(path.relative_to(tmp_path)) for path in paths] == ["a.webp", "c.gif", "b/1.txt", "b/2.bin"]
    over = [each.where for each in told if isinstance(each, NoPicture) and each.passed_over]
    assert over == [str(tmp_path / "a.png"), str(tmp_path / "empty.png")]


def test_what_is_named_itself_is_taken_for_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("whatever it is")
    assert found(tmp_path / "a.txt", "https://example.com/b.png") == [
        Picture(str(tmp_path / "a.txt"), path=tmp_path / "a.txt"),
        Picture("https://example.com/b.png", url="https://example.com/b.png"),
    ]


def test_lines_name_files_beside_them_urls_and_pictures_inside_them(tmp_path: Path) -> None:
    lines = tmp_path / "catalogue.jsonl"
    inside = {"image": data_url(picture())}
    lines.write_text(
        f'{{"image": "sub/a.png"}}\n\n{{"image": "https://e.com/b"}}\n{json.dumps(inside)}\nno\n{{}}\n'
    )
    offset = lines.read_bytes().index(b'{"image": "data:')
    assert found(lines) == [
        Picture(f"{lines}:1", path=tmp_path / "sub" / "a.png"),
        Picture(f"{lines}:3", url="https://e.com/b"),
        Picture(f"{lines}:4", path=lines, offset=offset),
        NoPicture(f"{lines}:5", "not JSON"),
        NoPicture(f"{lines}:6", "names no picture"),
    ]


def test_a_file_of_lines_that_is_not_there_is_told(tmp_path: Path) -> None:
    (told,) = found(tmp_path / "none.jsonl")
    assert told == NoPicture(str(tmp_path / "none.jsonl"), "No such file or directory")


@pytest.mark.parametrize(
    ("line", "images"),
    [
        ({"image": "a"}, [("a", "auto")]),
        ({"image": {"url": "a", "detail": "low"}}, [("a", "low")]),
        (
            {
                "custom_id": "1",
                "url": "/v1/chat/completions",
                "body": {
                    "messages": [
                        {"role": "system", "content": "image"},
                        {
                            "role": "user",
                            "content": [
                                {"type": "text", "text": "x"},
                                {"type": "image_url", "image_url": {"url": "a", "detail": "high"}},
                                {"type": "image_url", "image_url": {"url": "b", "detail": "no"}},
                            ],
                        },
                    ]
                },
            },
            [("a", "high"), ("b", "auto")],
        ),
        (
            {"body": {"input": [{"content": [{"type": "input_image", "image_url": "a", "detail": "low"}]}]}},
            [("a", "low")],
        ),
    ],
)
def test_requests_name_pictures_where_their_routes_have_them(line: object, images: object) -> None:
    assert images_of(json.dumps(line).encode()) == images


@pytest.mark.parametrize(
    "line", [b"[]", b"1", b'{"image": 3}', b'{"image": ""}', b'{"messages": [{"content": "a.png"}]}']
)
def test_a_line_without_a_picture_is_none(line: bytes) -> None:
    with pytest.raises(ValueError, match="names no picture"):
        images_of(line)
