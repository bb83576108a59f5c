"""What is made of images that engines are not sent as they came."""

import io
from random import Random

import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from server.domain import Detail
from server.errors import CallerError, ImageError, ImageTooLarge
from server.images.inspect import Format, InspectedImage, enable_formats
from server.images.rendition import PixelBudgets, make_plan, render
from server.images.token_rules.qwen import QwenTokenRule
from tests.pictures import animation, noise, picture

RULE = QwenTokenRule(patch=16, merge=2, min_pixels=64 * 64, max_pixels=256 * 256)
MIB = 1024**2


def budgets(rule: QwenTokenRule | None = RULE, low: int = 128 * 128, auto: Detail = "high") -> PixelBudgets:
    return PixelBudgets(rule, low, auto, downscale=True)


def seen(width: int, height: int, kind: Format = "jpeg", frames: int = 1) -> InspectedImage:
    return InspectedImage(kind, width, height, frames)


def decoded(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("size", [(1, 1), (256, 256), (512, 128), (40, 30)])
def test_an_image_that_the_model_can_use_whole_is_sent_as_it_came(size: tuple[int, int]) -> None:
    for detail in ("auto", "high"):
        plan = make_plan(seen(*size), detail, budgets())
        assert (plan.size, plan.notes, plan.name) == (None, (), "")


@pytest.mark.parametrize("size", [(257, 256), (1920, 1080), (300, 4000), (5000, 100)])
def test_a_larger_one_gets_the_size_that_the_preprocessor_would_give_it(size: tuple[int, int]) -> None:
    plan = make_plan(seen(*size), "auto", budgets())
    assert plan.notes == ("downscaled",)
    assert plan.size == RULE.resized(*size)
    assert RULE.resized(*plan.size) == plan.size  # the engine's own resize finds nothing to do
    assert RULE.tokens(*plan.size) == RULE.tokens(*size)


def test_downscaling_can_be_switched_off_and_needs_the_models_rule() -> None:
    for off in (PixelBudgets(RULE, 128 * 128, "high", downscale=False), budgets(rule=None)):
        assert make_plan(seen(4000, 3000), "high", off).notes == ()


@pytest.mark.parametrize("rule", [RULE, None])
def test_low_detail_is_a_budget_of_pixels(rule: QwenTokenRule | None) -> None:
    plan = make_plan(seen(1920, 1080), "low", budgets(rule))
    assert plan.notes == ("low-detail",)
    assert plan.size is not None
    assert 0.7 * 128 * 128 < plan.size[0] * plan.size[1] <= 128 * 128
    assert make_plan(seen(100, 100), "low", budgets(rule)).notes == ()


def test_low_detail_is_never_less_than_the_model_needs() -> None:
    plan = make_plan(seen(1920, 1080), "low", budgets(low=1))
    assert plan.size is not None
    assert plan.size[0] * plan.size[1] >= RULE.min_pixels * 0.5


def test_auto_means_what_the_operator_says() -> None:
    assert make_plan(seen(200, 200), "auto", budgets(auto="low")).notes == ("low-detail",)
    assert make_plan(seen(200, 200), "high", budgets(auto="low")).notes == ()


def test_different_plans_have_different_names() -> None:
    plans = [
        make_plan(seen(4000, 3000), "high", budgets()),
        make_plan(seen(4000, 3000), "low", budgets()),
        make_plan(seen(10, 10, "gif"), "auto", budgets()),
        make_plan(seen(10, 10), "auto", budgets()),
    ]
    assert len({plan.name for plan in plans}) == 4


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "avif", "tiff"])
def test_of_an_animation_the_first_frame_is_sent(kind: Format) -> None:
    data = animation(kind.upper(), 3)
    plan = make_plan(seen(40, 30, kind, frames=3), "auto", budgets())
    assert plan.notes == ("first-frame",)
    made = render(data, kind, plan, MIB)
    assert (made.media_type, made.width, made.height) == ("image/png", 40, 30)
    red, green, blue = decoded(made.data).getpixel((20, 15))  # type: ignore[misc]
    assert (red > 245, green < 10, blue < 10) == (True, True, True)
    assert getattr(decoded(made.data), "n_frames", 1) == 1


@pytest.mark.parametrize("kind", ["gif", "avif", "tiff", "heic"])
def test_formats_that_engines_are_not_sent_become_png_pixel_for_pixel(kind: Format) -> None:
    enable_formats(frozenset({"heic"}))
    pillow_name = "HEIF" if kind == "heic" else kind.upper()
    data = noise(pillow_name, (50, 40))
    plan = make_plan(seen(50, 40, kind), "auto", budgets())
    assert plan.notes == ("reencoded",)
    made = render(data, kind, plan, MIB)
    assert ImageChops.difference(decoded(made.data), decoded(data).convert("RGB")).getbbox() is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(600, 400), (4000, 300)])
def test_a_downscaled_photograph_is_upright(orientation: int, size: tuple[int, int]) -> None:
    upright = Image.linear_gradient("L").resize(size).convert("RGB")
    upright.paste((255, 0, 0), (0, 0, size[0] // 4, size[1] // 4))
    exif = Image.Exif()
    exif[0x0112] = orientation
    back = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    turner = Image.Exif()
    turner[0x0112] = back
    turned = upright.copy()
    turned.info["exif"] = turner.tobytes()
    stored = ImageOps.exif_transpose(turned)
    out = io.BytesIO()
    stored.save(out, "JPEG", exif=exif, quality=95)
    plan = make_plan(seen(*size), "auto", budgets())
    made = render(out.getvalue(), "jpeg", plan, MIB)
    assert plan.size == (made.width, made.height) == decoded(made.data).size
    red, green, _ = decoded(made.data).getpixel((made.width // 8, made.height // 8))  # type: ignore[misc]
    assert (red > 200, green < 80) == (True, True)
    assert decoded(made.data).getexif().get(0x0112, 1) == 1


def test_transparency_is_put_on_white_as_vllm_does() -> None:
    image = Image.new("RGBA", (400, 400), (255, 0, 0, 0))
    out = io.BytesIO()
    image.save(out, "PNG")
    made = render(out.getvalue(), "png", make_plan(seen(400, 400, "png"), "auto", budgets()), MIB)
    assert decoded(made.data).getpixel((9, 9)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "CMYK"])
def test_every_kind_of_pixel_becomes_rgb(mode: str) -> None:
    out = io.BytesIO()
    Image.new(mode, (400, 400)).save(out, "JPEG" if mode == "CMYK" else "PNG")
    kind: Format = "jpeg" if mode == "CMYK" else "png"
    made = render(out.getvalue(), kind, make_plan(seen(400, 400, kind), "auto", budgets()), MIB)
    assert decoded(made.data).mode == "RGB"


def test_a_png_that_would_be_too_large_becomes_a_jpeg_and_says_so() -> None:
    data = noise("PNG", (600, 600))
    plan = make_plan(seen(600, 600, "png"), "auto", budgets())
    exact = render(data, "png", plan, MIB)
    assert (exact.media_type, exact.lossy) == ("image/png", False)
    smaller = render(data, "png", plan, len(exact.data) - 1)
    assert (smaller.media_type, smaller.lossy) == ("image/jpeg", True)
    with pytest.raises(ImageTooLarge):
        render(data, "png", plan, 100)


@pytest.mark.parametrize("detail", ["low", "auto"])
def test_a_photograph_stays_a_jpeg(detail: Detail) -> None:
    wide = PixelBudgets(RULE.within(2_000_000), 128 * 128, "high", downscale=True)
    made = render(picture("JPEG", (2600, 2600)), "jpeg", make_plan(seen(2600, 2600), detail, wide), MIB)
    assert (made.media_type, made.lossy) == ("image/jpeg", True)
    with Image.open(io.BytesIO(made.data)) as image:
        assert [sampling[1:3] for sampling in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "avif"])
def test_a_file_that_breaks_off_is_an_image_error(kind: Format) -> None:
    data = noise(kind.upper(), (400, 400))
    with pytest.raises(ImageError):
        render(data[: len(data) // 2], kind, make_plan(seen(400, 400, kind), "auto", budgets()), MIB)


def test_damaged_photographs_are_brought_down_or_refused_and_never_a_bug() -> None:
    whole, random = picture("JPEG", (700, 500)), Random(4)
    plan = make_plan(seen(700, 500), "auto", budgets())
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(random.randint(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        try:
            made = render(bytes(data), "jpeg", plan, MIB)
        except CallerError:
            refused += 1
        else:
            assert decoded(made.data).size == plan.size
    assert 0 < refused < 300


def test_a_photograph_is_brought_down_to_what_the_models_own_resizing_makes_of_it() -> None:
    data = noise("JPEG", (900, 700))
    plan = make_plan(seen(900, 700), "auto", budgets())
    assert plan.size is not None
    ours = decoded(render(data, "jpeg", plan, MIB).data)
    theirs = decoded(data).resize(plan.size, Image.Resampling.BICUBIC)
    apart = ImageStat.Stat(ImageChops.difference(ours, theirs)).mean
    assert max(apart) < 6  # of 255, in pure noise


def test_the_same_bytes_and_plan_make_the_same_bytes() -> None:
    data, plan = noise("JPEG", (600, 600)), make_plan(seen(600, 600), "auto", budgets())
    assert render(data, "jpeg", plan, MIB) == render(data, "jpeg", plan, MIB)


def test_a_plain_picture_keeps_its_colour() -> None:
    made = render(picture("JPEG", (4000, 3000)), "jpeg", make_plan(seen(4000, 3000), "auto", budgets()), MIB)
    red, green, blue = decoded(made.data).getpixel((50, 50))  # type: ignore[misc]
    assert (red > 245, green < 10, blue < 10) == (True, True, True)
