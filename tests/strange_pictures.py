"""Small files of the kinds that photographers really have: pictures that are more, or other, than they seem."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageCms

SIZE = (160, 120)
Tag = tuple[int, int, int, bytes]  # number, type, count, value or place in 4 bytes


def samples(noise: float = 6, seed: int = 0) -> np.ndarray:
    """(120, 160, 3) float64, 0 to 255: something smooth with a little noise."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    smooth = np.stack([128 + 90 * np.sin(x / 37), 120 + 80 * np.cos(y / 29), 110 + 70 * np.sin((x - y) / 41)], 2)
    return np.clip(smooth + np.random.default_rng(seed).normal(0, noise, smooth.shape), 0, 255)


def photo() -> np.ndarray:
    """(120, 160, 3) uint8."""
    return samples().astype(np.uint8)


def deep() -> np.ndarray:
    """(120, 160, 3) uint16, of 16 significant bits."""
    return np.clip(samples(3) * 257 + 77, 0, 65535).astype(np.uint16)


def encoded(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image or Image.fromarray(photo())).save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(**options: Any) -> bytes:
    return encoded("JPEG", quality=95, **options)


def segment(number: int, data: bytes) -> bytes:
    """An application segment of a JPEG."""
    return bytes([0xFF, 0xE0 + number]) + struct.pack(">H", len(data) + 2) + data


def with_segments(data: bytes, *segments: bytes) -> bytes:
    return data[:2] + b"".join(segments) + data[2:]


def xmp_segment(text: bytes) -> bytes:
    return segment(1, b"http://ns.adobe.com/xap/1.0/\0" + text)


def multi_picture(hdr: bool) -> bytes:
    """A JPEG with a second one behind it, of which an MPF index tells; an Ultra HDR one if hdr."""
    main = jpeg()
    gain = encoded("JPEG", Image.fromarray(photo()[::2, ::2, 0]), quality=95)
    xmp = xmp_segment(b'<x:xmpmeta xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>')
    xmp = xmp if hdr else b""
    size, at = len(main) + len(xmp) + 90, 2 + len(xmp) + 8  # of the first picture; of the index's header
    index = struct.pack("<HHHI4sHHIIHHIII", 3, 0xB000, 7, 4, b"0100", 0xB001, 4, 1, 2, 0xB002, 7, 32, 50, 0)
    index += struct.pack("<IIIHHIIIHH", 0x30000, size, 0, 0, 0, 0, len(gain), size - at, 0, 0)
    return with_segments(main, xmp, segment(2, b"MPF\0II*\0" + struct.pack("<I", 8) + index)) + gain


def motion_photo() -> bytes:
    film = struct.pack(">I", 24) + b"ftypmp42\0\0\0\0isommp42"
    return jpeg() + film + np.random.default_rng(1).bytes(40_000)


def exif(bias: tuple[int, int] = (1, 3), orientation: int = 6) -> bytes:
    """EXIF as cameras write it: a part of the camera's with a maker's note, a thumbnail."""
    thumbnail = encoded("JPEG", Image.fromarray(photo()[::2, ::2]), quality=70)

    def directory(*entries: tuple[int, int, int, int], after: int = 0) -> bytes:
        return (
            struct.pack("<H", len(entries))
            + b"".join(struct.pack("<HHII", *e) for e in entries)
            + struct.pack("<I", after)
        )

    out = b"II*\0" + struct.pack("<I", 8)
    out += directory((274, 3, 1, orientation), (34665, 4, 1, 38), after=276)
    out += directory((37380, 10, 1, 68), (37500, 7, 200, 76)) + struct.pack("<ii", *bias) + bytes(range(200))
    out += directory((259, 3, 1, 6), (513, 4, 1, 318), (514, 4, 1, len(thumbnail))) + thumbnail
    return b"Exif\0\0" + out


def extended_xmp() -> tuple[bytes, bytes, bytes]:
    """A JPEG whose XMP goes on in further segments, the first part, and the rest."""
    rest, guid = b"<x:xmpmeta>" + b"A" * 100_000 + b"</x:xmpmeta>", b"0123456789ABCDEF" * 2
    first = b'<x:xmpmeta xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="' + guid + b'"/>'
    more = [
        segment(
            1,
            b"http://ns.adobe.com/xmp/extension/\0" + guid + struct.pack(">II", len(rest), at) + rest[at : at + 65_000],
        )
        for at in range(0, len(rest), 65_000)
    ]
    return with_segments(jpeg(), xmp_segment(first), *more), first, rest


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*chunks: tuple[bytes, bytes], image: Image.Image | None = None) -> bytes:
    """A PNG with these chunks behind its header."""
    data = encoded("PNG", image)
    return data[:33] + b"".join(png_chunk(name, content) for name, content in chunks) + data[33:]


GAMMA_1 = (b"gAMA", struct.pack(">I", 100_000))
ADOBE_RGB = (
    (b"gAMA", struct.pack(">I", 45_470)),
    (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)),
)
DISPLAY_P3 = (b"cICP", bytes([12, 13, 0, 1]))
PQ = (b"cICP", bytes([9, 16, 0, 1]))
PROFILE = (
    b"iCCP",
    b"x\0\0" + zlib.compress(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
)
SRGB = ((b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45_455)))


def xmp_text(text: bytes) -> tuple[bytes, bytes]:
    return b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text


def deep_png(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A 16-bit PNG of (H, W), (H, W, 2), (H, W, 3) or (H, W, 4) uint16."""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[1 if pixels.ndim == 2 else pixels.shape[2]]
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, data) for name, data in parts)


def ppm(pixels: np.ndarray, top: int) -> bytes:
    wide = pixels.astype(">u2" if top > 255 else np.uint8)
    return f"P{6 if pixels.ndim == 3 else 5}\n{pixels.shape[1]} {pixels.shape[0]}\n{top}\n".encode() + wide.tobytes()


def deep_sgi() -> bytes:
    pixels = deep()
    head = struct.pack(">HBBHHHHII4x80sI404x", 474, 0, 2, 3, *SIZE, 3, 0, 65535, b"", 0)
    return head + pixels[::-1].transpose(2, 0, 1).astype(">u2").tobytes()


def tiff(pixels: np.ndarray, *more: Tag, after: bytes = b"", head: bytes = b"") -> bytes:
    """An uncompressed TIFF of (H, W, C) with further tags. head: bytes from byte 8 on that tags may point to."""
    height, width, channels = pixels.shape
    bits = 8 * pixels.itemsize
    start = 8 + len(head)
    depths = struct.pack(f"<{channels}H", *[bits] * channels)
    data_at = start + len(depths)

    def long(tag: int, value: int) -> Tag:
        return tag, 4, 1, struct.pack("<I", value)

    where = struct.pack("<I", start) if channels > 2 else depths.ljust(4, b"\0")
    tags: list[Tag] = [long(256, width), long(257, height), (258, 3, channels, where), long(259, 1)]
    tags += [long(262, 2 if channels > 2 else 1), long(273, data_at), long(277, channels), long(278, height)]
    tags += [long(279, pixels.nbytes), *more]
    tags = list({tag[0]: tag for tag in tags}.values())  # later ones count
    ifd_at = data_at + pixels.nbytes
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHI4s", *tag) for tag in sorted(tags)) + bytes(4)
    return b"II*\0" + struct.pack("<I", ifd_at) + head + depths + pixels.tobytes() + ifd + after


def raw(photometric: int = 32803, dng: bool = True) -> bytes:
    """A raw file as cameras write it: a TIFF whose first picture is a thumbnail, the sensor's data in a SubIFD."""
    sensor = np.random.default_rng(1).integers(0, 2**14, (96, 128), dtype=np.uint16)

    def entry(tag: int, kind: int, value: int) -> bytes:
        return struct.pack("<HHII", tag, kind, 1, value)

    numbers = {
        254: 0,
        256: 128,
        257: 96,
        258: 16,
        259: 1,
        262: photometric,
        273: 8,
        277: 1,
        278: 96,
        279: sensor.nbytes,
    }
    sub = struct.pack("<H", len(numbers)) + b"".join(entry(tag, 4, value) for tag, value in numbers.items()) + bytes(4)
    more: list[Tag] = [(330, 4, 1, struct.pack("<I", 8 + sensor.nbytes)), (254, 4, 1, struct.pack("<I", 1))]
    more += [(50706, 1, 4, bytes([1, 4, 0, 0]))] if dng else []
    return tiff(photo()[::4, ::4].copy(), *more, head=sensor.astype("<u2").tobytes() + sub)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 200 200\n%%EndComments\n{ } loop\nshowpage\n%%EOF\n"


def disc(hidden: str) -> np.ndarray:
    """(96, 96, 4) uint8: a disc on transparency. hidden: what lies where nothing is to be seen: black, noise or own."""
    y, x = np.mgrid[:96, :96].astype(float)
    colour = np.stack([230 + 10 * np.sin(x / 9), 180 + 10 * np.cos(y / 7), 60 + 0 * x], 2)
    alpha = (np.clip((35 - np.hypot(x - 48, y - 48)) / 1.5 + 0.5, 0, 1) * 255).round()
    under = {"black": 0 * colour, "noise": np.random.default_rng(0).integers(0, 255, colour.shape), "own": colour}[
        hidden
    ]
    return np.dstack([np.where((alpha > 0)[..., None], colour, under), alpha]).round().astype(np.uint8)


def box(name: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I", 8 + len(data)) + name + data


def psd(layers: bytes = b"", channels: int = 3, mode: int = 3, inks: bytes = b"") -> bytes:
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, SIZE[1], SIZE[0], 8, mode)
    planes = b"".join(photo()[:, :, k % 3].tobytes() for k in range(channels))
    return head + struct.pack(">I", len(inks)) + inks + struct.pack(">II", 0, len(layers)) + layers + b"\0\0" + planes


def still_before_a_film() -> bytes:
    """An animated PNG of one frame, which does not begin with the picture that others show."""
    data = encoded("PNG")
    frame = zlib.compress(b"".join(b"\0" + row.tobytes() for row in photo()[::-1]))
    control = png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, *SIZE, 0, 0, 1, 10, 0, 0))
    film = control + png_chunk(b"fdAT", struct.pack(">I", 1) + frame)
    return data[:33] + png_chunk(b"acTL", struct.pack(">II", 1, 0)) + data[33:-12] + film + data[-12:]


def more_xmp(guid: bytes, text: bytes, size: int | None = None, at: int = 0) -> bytes:
    """A segment of extended XMP."""
    place = struct.pack(">II", len(text) if size is None else size, at)
    return segment(1, b"http://ns.adobe.com/xmp/extension/\0" + guid + place + text)


def bmp_of_32_bits() -> bytes:
    """A BMP whose fourth bytes are not said to be anything, but are something."""
    pixels = np.dstack([photo()[::-1, :, ::-1], photo()[::-1, :, 0]])
    head = struct.pack("<IiiHHIIiiII", 40, *SIZE, 1, 32, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<I4xI", 54 + pixels.nbytes, 54) + head + pixels.tobytes()


def bmp_of_10_bits() -> bytes:
    """A BMP of 10 bits a sample, as masks tell."""
    pixels = deep().astype("<u4") >> 6
    packed = pixels[..., 0] << 20 | pixels[..., 1] << 10 | pixels[..., 2]
    masks = struct.pack("<3I", 0x3FF00000, 0xFFC00, 0x3FF)
    head = struct.pack("<IiiHHIIiiII", 40, *SIZE, 1, 32, 3, 0, 0, 0, 0, 0) + masks
    return b"BM" + struct.pack("<I4xI", 66 + packed.nbytes, 66) + head + packed.tobytes()


def jpeg_ls() -> bytes:
    """The segments of a JPEG-LS file, and coded data in which, as there, FF stands before bits that begin with 0."""
    frame = b"\xff\xf7" + struct.pack(">HBHHBBBB", 11, 8, *SIZE, 1, 1, 0x11, 0)
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 0, 0)
    return b"\xff\xd8" + frame + scan + b"\x12\xff\x7d\x34\xff\x01\xff\xd9"


def tiff_of_whole_numbers(kind: str = "<i2") -> bytes:
    """A grey TIFF of numbers on both sides of 0."""
    pixels = np.linspace(-100, 100, 20 * 30).astype(kind).reshape(20, 30, 1)
    return tiff(pixels, (339, 3, 1, b"\2\0\0\0"))


def bigtiff(pixels: np.ndarray, deflated: bool = False) -> bytes:
    """A BigTIFF of (H, W, C) of strips of 16 rows, whose numbers begin with the highest byte."""
    height, width, channels = pixels.shape
    strips = [pixels[at : at + 16].astype(pixels.dtype.newbyteorder(">")).tobytes() for at in range(0, height, 16)]
    strips = [zlib.compress(strip) for strip in strips] if deflated else strips
    starts = [16 + sum(map(len, strips[:k])) for k in range(len(strips))]
    data = b"".join(strips)
    data += bytes(-len(data) % 8)
    tables = [16 + len(data), 16 + len(data) + 8 * len(strips)]
    data += struct.pack(f">{2 * len(strips)}Q", *starts, *map(len, strips))
    numbers = {
        256: width,
        257: height,
        259: 8 if deflated else 1,
        262: 2 if channels == 3 else 1,
        277: channels,
        278: 16,
    }
    entries = {tag: struct.pack(">HHQI4x", tag, 4, 1, value) for tag, value in numbers.items()}
    depths = struct.pack(f">{channels}H", *[8 * pixels.itemsize] * channels).ljust(8, b"\0")
    entries[258] = struct.pack(">HHQ", 258, 3, channels) + depths
    entries |= {tag: struct.pack(">HHQQ", tag, 16, len(strips), at) for tag, at in zip((273, 279), tables, strict=True)}
    directory = struct.pack(">Q", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(8)
    return b"MM\0+\0\x08\0\0" + struct.pack(">Q", 16 + len(data)) + data + directory


def jpeg_without_transform() -> bytes:
    """A lossless JPEG (SOF3) of one even grey: Huffman codes of one bit say that each sample is as predicted."""
    frame = b"\xff\xc3" + struct.pack(">HBHHBBBB", 11, 8, SIZE[1], SIZE[0], 1, 1, 0x11, 0)
    table = b"\xff\xc4" + struct.pack(">HB", 20, 0) + bytes([1, *bytes(15), 0])
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 0, 0)
    return b"\xff\xd8" + frame + table + scan + bytes(SIZE[0] * SIZE[1] // 8) + b"\xff\xd9"


def pages(kind: int, size: tuple[int, int], sub: bool = False) -> bytes:
    """A TIFF of two pages, or a picture with another in a SubIFD; the other one is of this kind (NewSubfileType)."""
    out = bytearray(tiff(photo(), (330, 4, 1, bytes(4))) if sub else tiff(photo()))
    directory = int.from_bytes(out[4:8], "little")
    end = directory + 2 + 12 * int.from_bytes(out[directory : directory + 2], "little")
    link = next(at + 8 for at in range(directory + 2, end, 12) if out[at : at + 2] == b"\x4a\1") if sub else end
    pixels = np.full(size[::-1], 77, np.uint8).tobytes()
    numbers = {254: kind, 256: size[0], 257: size[1], 258: 8, 259: 1, 262: 1, 273: len(out), 277: 1, 278: size[1]}
    numbers[279] = len(pixels)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in numbers.items())
    out[link : link + 4] = struct.pack("<I", len(out) + len(pixels))
    return bytes(out) + pixels + struct.pack("<H", len(numbers)) + entries + bytes(4)


def bmp(size: int = 40, bits: int = 24, compression: int = 0, more: bytes = b"", before: bytes = b"") -> bytes:
    """A BMP with a header of this size. more: of the header, from byte 40 on; before: between header and pixels."""
    head = struct.pack("<IiiHHIIiiII", size, *SIZE, 1, bits, compression, 0, 0, 0, 0, 0) + more
    head = struct.pack("<IHHHH", 12, *SIZE, 1, 24) if size == 12 else head.ljust(size, b"\0")
    pixels = photo()[::-1, :, ::-1]
    rows = (np.dstack([pixels, pixels[:, :, 0]]) if bits == 32 else pixels).tobytes()
    start = 14 + len(head) + len(before)
    return b"BM" + struct.pack("<I4xI", start + len(rows), start) + head + before + rows


def icon(picture: bytes, after: bytes = b"") -> bytes:
    """An icon of one picture, a PNG."""
    return b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", *SIZE, 0, 0, 1, 32, len(picture), 22) + picture + after


def adobe_rgb_tiff(*, white: bool = True) -> bytes:
    """A TIFF whose colours are told by its white point, if it is told, and its primaries."""
    values = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
    head = b"".join(struct.pack("<II", round(value * 10_000), 10_000) for value in values)
    tags: list[Tag] = [(319, 5, 6, struct.pack("<I", 8 + 16)), (318, 5, 2, struct.pack("<I", 8))]
    return tiff(photo(), *tags[: 1 + white], head=head)


def with_byte(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


def jpeg_2000_of_4_bits() -> bytes:
    """A JPEG 2000 that says that its samples have 4 bits."""
    data = encoded("JPEG2000", no_jp2=True)
    for component in range(3):
        data = with_byte(data, 42 + 3 * component, 3)
    return data
