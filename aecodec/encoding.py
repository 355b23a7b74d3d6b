"""Pictures to files: at a quality or at the one that gives what is asked for, and what looks drawn without loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from aecodec import container, rate, tiling
from aecodec.analysis import STRIP_TILES, Analysis, analyses, as_jobs, padded_size, pixels_of, side_of_tiles
from aecodec.canvas import Decode
from aecodec.container import File, Header
from aecodec.metrics import psnr
from aecodec.models import Model
from aecodec.options import ESTIMATED, EncodeOptions
from aecodec.patching import Patcher
from aecodec.picture import Picture, Samples, chunks_of
from aecodec.picture.names import DENOISED
from aecodec.picture.noise import estimated_noise
from aecodec.picture.preview import with_preview
from aecodec.pipeline import Job, in_parallel


@dataclass(frozen=True)
class Encoder:
    """Makes files of pictures, with one model, as options ask.

    decode: files to pictures, for what is decided by what decoders show. strip_tiles: see `analysis.STRIP_TILES`.
    """

    model: Model
    options: EncodeOptions
    decode: Decode
    strip_tiles: int = STRIP_TILES

    def encode(self, pictures: Sequence[Picture]) -> list[bytes]:
        """The bytes of their files; tiles of equal shape share passes through the network.

        Raises OutOfReachError if no quality gives what is asked for, LimitError if a picture is too large for one tile.
        """
        if self.options.denoise == ESTIMATED:
            return [self._denoising(picture).encode([picture])[0] for picture in pictures]
        if self.options.preview is not None:
            pictures = [with_preview(picture, self.options.preview) for picture in pictures]
        if self.options.needs_search:
            return [self._meet(picture) for picture in pictures]
        files = self.files(pictures)
        return [self._patched(self._patcher(picture), file) for picture, file in zip(pictures, files, strict=True)]

    def files(self, pictures: Sequence[Picture]) -> list[File]:
        """Their files by the network alone, at the quality that is asked for."""
        return self._code(pictures, self._analyses(pictures), self.options.first_quality)

    def _denoising(self, picture: Picture) -> Encoder:
        return replace(self, options=replace(self.options, denoise=estimated_noise(picture)))

    def _meet(self, picture: Picture) -> bytes:
        """The file at the quality that gives what is asked for; the picture is analysed once for all qualities."""
        latents = as_jobs(in_parallel(self._analyses([picture])))
        patcher = self._patcher(picture)
        pixels, white = picture.pixels, 2**picture.depth - 1

        def code(quality: int) -> File:
            return self._code([picture], latents, quality)[0]

        def decoded(data: bytes) -> Samples:
            return self.decode([container.read(data, pixels)], None)[0].colour

        def score(data: bytes) -> float:
            from aecodec import perceptual  # which needs torch

            return perceptual.score(picture.colour, decoded(data), white)

        return rate.choose(
            self.options,
            pixels,
            encode=lambda quality: self._patched(patcher, code(quality)),
            psnr=lambda data: psnr(picture.colour, decoded(data), white),
            score=score,
            plain=(lambda quality: container.write(code(quality))) if patcher.mask.any() else None,
        )

    def _analyses(self, pictures: Sequence[Picture]) -> list[Analysis]:
        return analyses(self.model.family, pictures, list(map(self._side, pictures)), self.strip_tiles)

    def _code(self, pictures: Sequence[Picture], latents: Sequence[Analysis], quality: int) -> list[File]:
        """Files by the network alone, of what `_analyses` returns, at a quality in hundredths."""
        headers = [self._header(picture, quality) for picture in pictures]
        payloads = [[b""] * (header.tile_grid[0] * header.tile_grid[1]) for header in headers]

        def code(job: Analysis) -> None:
            for tiles, own in job.run():
                coded = self.model.family.encode(own, partial(pixels_of, pictures, tiles), quality, self.options)
                for (p, t, _), payload in zip(tiles, coded, strict=True):
                    payloads[p][t] = payload

        workers = self.model.family.encoders(self.options)
        in_parallel([Job(job.size, partial(code, job)) for job in latents], workers)
        return [File(*each) for each in zip(headers, map(self._chunks, pictures), payloads, strict=True)]

    def _side(self, picture: Picture) -> int:
        return side_of_tiles(self.model.family, picture, self.options.tile)

    def _header(self, picture: Picture, quality: int) -> Header:
        channels = (1 if picture.colour.ndim == 2 else 3) + (picture.alpha is not None)
        return Header(picture.width, picture.height, channels, self.model.id, quality, self._side(picture))

    def _chunks(self, picture: Picture) -> dict[str, bytes]:
        chunks = dict(chunks_of(picture))
        if not self.model.family.portable:
            chunks[container.LOCAL] = self.model.family_name.encode()
        if self.options.denoise:
            chunks[DENOISED] = round(100 * self.options.denoise).to_bytes(2, "little")
        return chunks

    def _patcher(self, picture: Picture) -> Patcher:
        tiles = tiling.tiles(padded_size(self.model.family, picture), self._side(picture))
        return Patcher(picture, tiles, self.model.tune == "visual")

    def _patched(self, patcher: Patcher, file: File) -> bytes:
        """The bytes of the file, with a lossless code of what looks drawn where that is better."""

        def code(rest: Picture) -> File:
            return self._code([rest], self._analyses([rest]), file.header.quality)[0]

        return patcher.patched(file, code, self.decode)
