"""Metadata as the files have them."""

from __future__ import annotations

from PIL import Image

# Tags of a TIFF file that describe the picture; the others tell how the file is laid out. Description, maker, model,
# orientation, resolution (3), software, time, artist, host, copyright, EXIF, GPS.
TIFF_DESCRIPTION = {270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316, 33432, 34665, 34853}
SUB_EXIF = (34665, 34853, 40965)  # tags that lead to further EXIF: camera, GPS, interoperability


def exif_of(image: Image.Image) -> bytes | None:
    """EXIF byte by byte as the file has it (with thumbnail and maker's notes), unless it was edited through Pillow."""
    raw, edited = image.info.get("exif"), image.getexif()
    if raw:
        read = Image.Exif()
        read.load(raw)
        if dict(read) == dict(edited) and all(_sub_exif(read, tag) == _sub_exif(edited, tag) for tag in SUB_EXIF):
            return bytes(raw)
    if getattr(image, "tag_v2", None):  # Pillow gives all tags of a TIFF file
        kept = Image.Exif()
        kept.load(edited.tobytes())
        for tag in set(kept) - TIFF_DESCRIPTION:
            del kept[tag]
        edited = kept
    return edited.tobytes() if edited else None


def _sub_exif(exif: Image.Exif, tag: int) -> dict[int, object]:
    try:
        return dict(exif.get_ifd(tag))
    except KeyError:  # Pillow before 13, where the camera's part holds no pointer to it
        return {}
