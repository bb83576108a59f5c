"""Images as an attacker would write them: byte by byte, most of them by no library that would refuse to."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from tests.pictures import picture

BROKEN, UNSUPPORTED, TOO_LARGE = "invalid_image", "unsupported_image_format", "image_too_large"
STATUS = {BROKEN: 400, UNSUPPORTED: 415, TOO_LARGE: 413}
PNG, JPEG, WEBP, GIF = picture("PNG"), picture("JPEG"), picture("WEBP"), picture("GIF")
SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Case:
    name: str
    data: bytes
    code: str


def encoded(kind: str, size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind, **options)
    return out.getvalue()


# --- PNG


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2, filters: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBB2s", width, height, depth, colour, 0, filters or b"\0\0"))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return SIGNATURE + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def text_bomb(count: int, size: int) -> bytes:
    """zTXt chunks that come to `count` x `size` bytes."""
    body = b"a\0\0" + zlib.compress(b"a" * size, 9)
    return chunk(b"zTXt", body) * count


def profile_bomb(size: int) -> bytes:
    return chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(size)))


def without_crc(data: bytes) -> bytes:
    """The same with a checksum of its IDAT that is wrong by a bit."""
    at = data.index(b"IDAT")
    length = struct.unpack(">I", data[at - 4 : at])[0]
    end = at + 4 + length
    return data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :]


# --- JPEG


def segment(kind: int, data: bytes) -> bytes:
    return b"\xff" + bytes([kind]) + struct.pack(">H", len(data) + 2) + data


def jpeg_with(*segments: bytes) -> bytes:
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def jpeg_of_size(width: int, height: int, data: bytes = JPEG) -> bytes:
    """The same file with another size in its frame header."""
    at = next(data.index(b"\xff" + bytes([kind])) for kind in (0xC0, 0xC2) if b"\xff" + bytes([kind]) in data)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def many_scans(count: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A progressive JPEG whose last scan comes again and again: each walks over every block of the image."""
    data = encoded("JPEG", size, "L", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def exif(orientation: int, extra: bytes = b"") -> bytes:
    tags = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + tags + b"\0\0\0\0" + extra


def exif_loop() -> bytes:
    """A directory that names itself as its GPS directory, as its EXIF directory and as the next one."""
    tags = struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<HHII", 0x8825, 4, 1, 8)
    return b"Exif\0\0II*\0\x08\0\0\0\x02\0" + tags + struct.pack("<I", 8)


def exif_bomb() -> bytes:
    """Tags that claim four billion values each."""
    tags = b"".join(struct.pack("<HHII", 0x0100 + n, 12, 0xFFFFFFFF, 8) for n in range(2000))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2000) + tags + b"\0\0\0\0"


# --- GIF, WebP, TIFF, BMP, ICO, AVIF, JPEG 2000, JPEG XL, PSD


def gif(screen: tuple[int, int], frame: tuple[int, int] | None = None, frames: int = 1) -> bytes:
    width, height = frame or screen
    start = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    image = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02L\x01\0"
    return start + image * frames + b";"


def riff(*chunks: tuple[bytes, bytes], size: int | None = None) -> bytes:
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def vp8x(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    return b"VP8X", bytes([flags, 0, 0, 0]) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]


def vp8l(width: int, height: int, tail: bytes = b"\0" * 40) -> tuple[bytes, bytes]:
    return b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + tail


def animated_webp(frames: int) -> bytes:
    image = riff(vp8l(1, 1))[12:]
    frame = b"\0" * 6 + b"\0" * 6 + b"\x64\0\0\0" + image
    return riff(vp8x(1, 1, 2), (b"ANIM", b"\0" * 6), *((b"ANMF", frame),) * frames)


def animated_png(frames: int) -> bytes:
    return png(1, 1, chunk(b"acTL", struct.pack(">II", frames, 0)))


def tiff_loop() -> bytes:
    """A directory that is its own next one."""
    tags = struct.pack("<HHII", 256, 4, 1, 10) + struct.pack("<HHII", 257, 4, 1, 10)
    return b"II*\0\x08\0\0\0\x02\0" + tags + struct.pack("<I", 8)


def bmp(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 100, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, *[0] * 6)
    )


def box(kind: bytes, data: bytes, size: int | None = None) -> bytes:
    return struct.pack(">I", len(data) + 8 if size is None else size) + kind + data


def avif_boxes(*boxes: bytes, brand: bytes = b"avif") -> bytes:
    return box(b"ftyp", brand + b"\0\0\0\0" + brand + b"mif1") + b"".join(boxes)


def truncations(name: str, data: bytes) -> Iterator[Case]:
    for part in (0.02, 0.2, 0.5, 0.8, 0.99):
        kept = data[: max(12, int(len(data) * part))]
        yield Case(f"{name}, {part:.0%} of it", kept, BROKEN)


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "hello")
    return out.getvalue()


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
LIES = [
    Case("a PNG of 2^31 by 2^31", png(2**31 - 1, 2**31 - 1), TOO_LARGE),
    Case("a PNG of 100,000 by 100,000", png(100_000, 100_000), TOO_LARGE),
    Case("a PNG of 2^31 by 1", png(2**31 - 1, 1), TOO_LARGE),
    Case("a PNG of 6001 by 6000", png(6001, 6000), TOO_LARGE),
    Case("a PNG of 16385 by 100", png(16385, 100), TOO_LARGE),
    Case("a PNG of 0 by 10", png(0, 10), UNSUPPORTED),
    Case("a PNG of 10 by 0", png(10, 0), UNSUPPORTED),
    Case("a PNG of 201 by 1", png(201, 1), BROKEN),
    Case("a PNG of 1 by 10,000", png(1, 10_000), BROKEN),
    Case("a PNG of 3 bits", png(10, 10, depth=3), UNSUPPORTED),
    Case("a PNG of colour type 9", png(10, 10, colour=9), UNSUPPORTED),
    Case("a PNG whose texts come to 70 MB", png(10, 10, text_bomb(70, 1_000_000)), BROKEN),
    Case("a PNG whose texts come to 2 GB", png(10, 10, text_bomb(2000, 1_000_000)), BROKEN),
    Case("a PNG whose profile comes to 200 MB", png(10, 10, profile_bomb(200_000_000)), BROKEN),
    Case("a PNG of 1,000,000 texts", png(10, 10, chunk(b"tEXt", b"a\0b") * 1_000_000), BROKEN),
    Case("a PNG of 1,000,000 frames", animated_png(1_000_000), BROKEN),
    Case("a PNG with a wrong checksum", without_crc(PNG), BROKEN),
    Case("a PNG without pixels", SIGNATURE + PNG[8:33] + chunk(b"IEND", b""), BROKEN),
    Case("a PNG without an end", PNG[:-12], BROKEN),
    Case("a PNG with a chunk of 4 GB", SIGNATURE + PNG[8:33] + b"\xff\xff\xff\xffIDAT", BROKEN),
    Case("a PNG's signature alone", SIGNATURE, BROKEN),
    Case("a JPEG of 65535 by 65535", jpeg_of_size(65535, 65535), TOO_LARGE),
    Case("a JPEG of 65535 by 1", jpeg_of_size(65535, 1), TOO_LARGE),
    Case("a JPEG of 0 by 10", jpeg_of_size(0, 10), UNSUPPORTED),
    Case("a JPEG of 10 by 0", jpeg_of_size(10, 0), UNSUPPORTED),
    Case("a JPEG of 65 scans", many_scans(65), BROKEN),
    Case("a JPEG of 1,000 scans over 36 Mpx", many_scans(1000, (6000, 6000)), BROKEN),
    Case("a JPEG of 100,000 scans", many_scans(100_000), BROKEN),
    Case("a JPEG of 3,000 segments", jpeg_with(segment(0xFE, b"a") * 3000), BROKEN),
    Case("a JPEG's beginning alone", JPEG[:3], BROKEN),
    Case("a JPEG without pixels", JPEG[:2] + b"\xff\xd9", BROKEN),
    Case("a JPEG of fill bytes", b"\xff\xd8" + b"\xff" * 1_000_000, BROKEN),
    Case("a GIF of 65535 by 65535", gif((65535, 65535)), TOO_LARGE),
    Case("a GIF whose frame is larger than its screen", gif((1, 1), (65535, 65535)), TOO_LARGE),
    Case("a GIF of 0 by 0", gif((0, 0)), UNSUPPORTED),
    Case("a GIF of 1,000,000 frames", gif((1, 1), frames=1_000_000), BROKEN),
    Case("a GIF without frames", gif((1, 1), frames=0), BROKEN),
    Case("a GIF that is a script", b"GIF89a/*" + b"*/=1;alert(1)//", BROKEN),
    Case("a GIF of sub-blocks without end", gif((1, 1))[:-1] + b"!\xfe" + b"\x01a" * 600_000, BROKEN),
    Case("a WebP of 16384 by 16384", riff(vp8l(16384, 16384)), TOO_LARGE),
    Case("a WebP of 2^24 by 2^24", riff(vp8x(2**24, 2**24), vp8l(10, 10)), TOO_LARGE),
    Case("a WebP of 100,000 frames", animated_webp(100_000), BROKEN),
    Case("a WebP that says it is 4 GB", riff(vp8l(10, 10), size=0xFFFFFFF0), BROKEN),
    Case("a WebP of nothing", riff(), UNSUPPORTED),
    Case("a lossless WebP of zeros", riff((b"VP8L", bytes(40))), BROKEN),
    Case("a lossy WebP of zeros", riff((b"VP8 ", bytes(40))), BROKEN),
    Case("an animated WebP of a huge canvas", riff(vp8x(16384, 16384, 2), (b"ANIM", bytes(6))), TOO_LARGE),
    Case("an AVIF of garbage", avif_boxes(box(b"meta", bytes(100))), UNSUPPORTED),
    Case("an AVIF whose box has no end", avif_boxes(box(b"meta", b"", 0)), UNSUPPORTED),
    Case("an AVIF whose box is 4 GB", avif_boxes(box(b"meta", b"", 0xFFFFFFFF)), UNSUPPORTED),
    Case("an AVIF whose box is smaller than its head", avif_boxes(box(b"meta", bytes(100), 4)), UNSUPPORTED),
    Case("an AVIF of its brand alone", avif_boxes(), UNSUPPORTED),
    Case("a HEIC", avif_boxes(box(b"meta", bytes(50)), brand=b"heic"), UNSUPPORTED),
    Case("a TIFF", encoded("TIFF"), UNSUPPORTED),
    Case("a TIFF that loops", tiff_loop(), UNSUPPORTED),
    Case("a BMP", bmp(10, 10), UNSUPPORTED),
    Case("a BMP of 2^31 by 2^31", bmp(2**31 - 1, 2**31 - 1), UNSUPPORTED),
    Case("an ICO", encoded("ICO"), UNSUPPORTED),
    Case("a JPEG 2000", encoded("JPEG2000"), UNSUPPORTED),
    Case("a JPEG XL", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100), UNSUPPORTED),
    Case("a JPEG XL, bare", b"\xff\x0a" + bytes(100), UNSUPPORTED),
    Case("a PSD", b"8BPS\0\x01" + bytes(100), UNSUPPORTED),
    Case("a PPM", b"P6 10 10 255\n" + bytes(300), UNSUPPORTED),
    Case("an XBM", b"#define a_width 10\n#define a_height 10\nstatic char a_bits[] = {0};", UNSUPPORTED),
    Case("an EPS", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc/passwd) (r) file", UNSUPPORTED),
    Case("a PCX", b"\x0a\x05\x01\x08" + bytes(200), UNSUPPORTED),
    Case("a FITS", b"SIMPLE  =                    T" + bytes(3000), UNSUPPORTED),
    Case("a WMF", b"\xd7\xcd\xc6\x9a" + bytes(100), UNSUPPORTED),
    Case("an SVG", SVG, UNSUPPORTED),
    Case("an SVG bomb", SVG.replace(b"<svg", b'<!DOCTYPE a [<!ENTITY b "bbbb">]><svg'), UNSUPPORTED),
    Case("a PDF that holds a JPEG", b"%PDF-1.7\n1 0 obj <</Filter/DCTDecode>> stream\n" + JPEG, UNSUPPORTED),
    Case("a ZIP with a JPEG before it, reversed", zipped() + JPEG, UNSUPPORTED),
    Case("a video", box(b"ftyp", b"isomiso2mp41") + box(b"mdat", bytes(100)), UNSUPPORTED),
    Case("HTML", b"<!doctype html><script>alert(1)</script>", UNSUPPORTED),
    Case("a script of ImageMagick's", b"push graphic-context\nfill 'url(https://127.0.0.1/\"|id\")'", UNSUPPORTED),
    Case("text", b"hello", UNSUPPORTED),
    Case("one byte", b"\xff", UNSUPPORTED),
    Case("a megabyte of zeros", bytes(1_000_000), UNSUPPORTED),
    Case("a JPEG behind a byte", b"\0" + JPEG, UNSUPPORTED),
    *truncations("a PNG", PNG),
    *truncations("a JPEG", encoded("JPEG", (256, 256), quality=95)),
    *truncations("a WebP", encoded("WEBP", (256, 256))),
    Case("a GIF, 20 bytes of it", GIF[:20], BROKEN),
    Case("an AVIF, half of it", encoded("AVIF")[: len(encoded("AVIF")) // 2], UNSUPPORTED),
]  # fmt: skip
# Odd, and right: these must work, each as the format that it is.
ODD = {
    "CMYK": (encoded("JPEG", mode="CMYK"), "image/jpeg"),
    "grey": (encoded("JPEG", mode="L"), "image/jpeg"),
    "progressive": (encoded("JPEG", progressive=True), "image/jpeg"),
    "64 scans": (many_scans(50), "image/jpeg"),
    "16 bits": (encoded("PNG", mode="I;16"), "image/png"),
    "1 bit": (encoded("PNG", mode="1"), "image/png"),
    "palette with transparency": (encoded("PNG", mode="P", transparency=0), "image/png"),
    "grey with alpha": (encoded("PNG", mode="LA"), "image/png"),
    "one pixel": (encoded("PNG", (1, 1)), "image/png"),
    "200 by 1": (encoded("PNG", (200, 1)), "image/png"),
    "lossless WebP": (encoded("WEBP", lossless=True), "image/webp"),
    "WebP with alpha": (encoded("WEBP", mode="RGBA"), "image/webp"),
    "GIF": (GIF, "image/png"),
    "AVIF": (encoded("AVIF"), "image/png"),
    "orientation 9": (jpeg_with(segment(0xE1, exif(9))), "image/jpeg"),
    "orientation 65535": (jpeg_with(segment(0xE1, exif(65535))), "image/jpeg"),
    "EXIF in a loop": (jpeg_with(segment(0xE1, exif_loop())), "image/jpeg"),
    "EXIF of four billion values": (jpeg_with(segment(0xE1, exif_bomb())), "image/jpeg"),
    "EXIF of garbage": (jpeg_with(segment(0xE1, b"Exif\0\0" + b"\xff" * 500)), "image/jpeg"),
    "XMP of 10 MB": (
        jpeg_with(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"x" * 65_000) * 154),
        "image/jpeg",
    ),
    "a colour profile of garbage": (jpeg_with(segment(0xE2, b"ICC_PROFILE\0\1\1" + b"x" * 1000)), "image/jpeg"),
    "a ZIP behind a JPEG": (JPEG + zipped(), "image/jpeg"),
    "HTML behind a PNG": (PNG + b"<script>alert(1)</script>", "image/png"),
    "a comment of HTML": (jpeg_with(segment(0xFE, b"<script>alert(1)</script>")), "image/jpeg"),
}
