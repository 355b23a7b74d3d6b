"""The promises of web/: pixels within one level in a browser, weights verified and fetched once, archives by ranges."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import runpy
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aecodec import native
from aecodec.codec import Codec
from aecodec.models import RELEASED

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "conformance"
DEEP = {"deep-alpha-q60", "ten-bits-q90"}  # their golden pixels have 16 bits
CASES = sorted(GOLDEN.glob("*/*.aec"))
builder = runpy.run_path(str(ROOT / "web" / "build.py"), run_name="build")
pytestmark = pytest.mark.xdist_group("web")


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if builder["tools"]() is None:
        pytest.skip("there is no compiler for WebAssembly")
    target = tmp_path_factory.mktemp("web") / "dist"
    builder["build"](target)
    return target


def golden_pixels(path: Path) -> np.ndarray:
    """RGBA of 8 bits, as the decoder gives them."""
    with Image.open(path.with_suffix(".png")) as image:
        return np.asarray(image.convert("RGBA"))


def difference(found: np.ndarray, path: Path) -> int:
    return int(np.abs(found.astype(int) - golden_pixels(path)).max())


def test_the_decoder_is_small(dist: Path) -> None:
    files = [(dist / name).read_bytes() for name in builder["DECODER"]]
    assert sum(map(len, files)) < 115_000  # compilers differ by 2 kB
    assert sum(len(gzip.compress(data)) for data in files) < 50_000  # as servers send them


def test_golden_files_as_webassembly(dist: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node")
    cases = [path for path in CASES if path.stem not in DEEP]
    outputs = [tmp_path / str(number) for number in range(len(cases))]
    pairs = [str(path) for pair in zip(cases, outputs, strict=True) for path in pair]
    subprocess.run([node, str(ROOT / "tests" / "web" / "decode.mjs"), str(dist), *pairs], check=True, timeout=200)
    for path, output in zip(cases, outputs, strict=True):
        golden = golden_pixels(path)
        found = np.frombuffer(output.read_bytes(), np.uint8).reshape(golden.shape)
        assert difference(found, path) <= 1, path
        if native.available():
            by_libaec = native.Decoder().decompress(path.read_bytes()).convert("RGBA")
            np.testing.assert_array_equal(found, np.asarray(by_libaec))


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder, by ranges too, and remembers what was asked for and how many bytes that were."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            self.send_error(404)
            return
        data, status, extra = path.read_bytes(), 200, {}
        if found := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            first, last = int(found[1]), min(int(found[2]), len(data) - 1)
            extra = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
            data, status = data[first : last + 1], 206
        self.server.asked.append((path.name, len(data)))  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in {"Content-Type": self.guess_type(str(path)), "Content-Length": len(data), **extra}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="module")
def server(dist: Path) -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(dist))) as server:
        server.asked = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with playwright.sync_playwright() as started:
        try:
            browser = started.chromium.launch(executable_path=chromium, args=quiet)
        except playwright.Error as error:
            pytest.skip(f"Chromium does not start: {error}")
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, server: ThreadingHTTPServer) -> Iterator[Any]:
    context = browser.new_context(base_url=f"http://127.0.0.1:{server.server_port}", accept_downloads=True)
    page = context.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    yield page
    context.close()
    assert page.problems == []


DECODE = """async (files) => {
    const { Decoder } = await import("/index.js");
    const decoder = new Decoder({ workers: 2 });
    const decoded = [];
    for (const file of files) {
        const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
        const image = await decoder.decode(bytes);
        if (!(image instanceof ImageData)) throw new Error("no ImageData");
        let text = "";
        for (const value of image.data) text += String.fromCharCode(value);
        decoded.push([image.width, image.height, btoa(text)]);
    }
    decoder.close();
    return decoded;
}"""


def in_browser(page: Any, paths: list[Path]) -> list[np.ndarray]:
    decoded = page.evaluate(DECODE, [base64.b64encode(path.read_bytes()).decode() for path in paths])
    return [np.frombuffer(base64.b64decode(text), np.uint8).reshape(h, w, 4) for w, h, text in decoded]


def test_golden_files_in_a_browser(page: Any) -> None:
    page.goto("/")
    wanted = ("alpha-q60", "grey-q60", "tiled-q40", "one-pixel-q50", "forged-q50", "text-q50", "drawn-tiled-q80")
    cases = [path for path in CASES if path.stem in wanted]
    assert len(cases) == 13
    for path, found in zip(cases, in_browser(page, cases), strict=True):
        assert difference(found, path) <= 1, path


def test_workers_make_the_same_picture_as_one(page: Any, by_default: Codec, photo: np.ndarray) -> None:
    """Bands that several workers make join without a seam, in a tiled picture too."""
    large = np.tile(photo, (5, 4, 1))[:600, :700]
    page.goto("/")
    for tile in (None, 512):
        data = by_default.compress(large, 60, effort=0, tile=tile)
        one, two = page.evaluate(
            """async (file) => {
                const { Decoder } = await import("/index.js");
                const hashes = [];
                for (const workers of [0, 3]) {
                    const decoder = new Decoder({ workers });
                    const { data } = await decoder.decode(new Uint8Array(file));
                    hashes.push([...new Uint8Array(await crypto.subtle.digest("SHA-256", data))].join());
                    decoder.close();
                }
                return hashes;
            }""",
            list(data),
        )
        assert one == two


@pytest.fixture(scope="module")
def by_default() -> Codec:
    return Codec("cpu")


def test_weights_are_fetched_once_and_only_the_right_ones_are_used(
    page: Any, server: ThreadingHTTPServer, dist: Path
) -> None:
    case = GOLDEN / "aec1-11" / "plain-q50.aec"
    (weights,) = (dist / "models").glob("aec1-11-*")
    fetched = lambda: [name for name, _ in server.asked if name == weights.name]  # type: ignore[attr-defined] # noqa: E731
    server.asked.clear()  # type: ignore[attr-defined]
    for _ in range(2):
        page.goto("/")
        in_browser(page, [case])
    assert len(fetched()) == 1
    right = weights.read_bytes()
    weights.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    try:
        page.evaluate("caches.delete('aecodec-models')")
        with pytest.raises(Exception, match="not the weights of aec1-11"):
            in_browser(page, [case])
    finally:
        weights.write_bytes(right)


def test_damaged_files_are_refused_and_salvaged(page: Any, dist: Path) -> None:
    data = bytearray((GOLDEN / "aec1-11" / "tiled-q40.aec").read_bytes())
    data[-10] ^= 255
    page.goto("/")
    page.set_input_files("#open", {"name": "damaged.aec", "mimeType": "", "buffer": bytes(data)})
    page.wait_for_selector("#facts .bad")
    assert "tile" in page.inner_text("#facts .bad")


def saved_by(page: Any, path: Path, target: Path) -> Path:
    page.goto("/")
    page.set_input_files("#open", str(path))
    page.wait_for_selector("#save:not([disabled])")
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(target)
    return target


def test_a_picture_is_saved_with_its_metadata(page: Any, tmp_path: Path) -> None:
    path = GOLDEN / "aec1-11" / "exif-q30.aec"
    with Image.open(saved_by(page, path, tmp_path / "a.png")) as saved, Image.open(path.with_suffix(".png")) as golden:
        assert np.abs(np.asarray(saved).astype(int) - np.asarray(golden)).max() <= 1
        assert 0x0112 in saved.getexif()


def test_a_picture_is_compared_with_its_original(page: Any) -> None:
    path = GOLDEN / "aec1-11" / "plain-q50.aec"
    page.goto("/")
    page.set_input_files("#open", str(path))
    page.wait_for_selector("#save:not([disabled])")
    page.set_input_files("#compare", str(path.with_suffix(".png")))
    page.wait_for_selector("#split", state="visible")
    facts = page.inner_text("#facts")
    assert "PSNR" in facts
    assert float(re.findall(r"([\d.]+) dB", facts)[0]) > 50 if " dB" in facts else "the same pixels" in facts
    page.set_input_files("#compare", {"name": "other.png", "mimeType": "image/png", "buffer": picture_file()})
    page.wait_for_selector("#message", state="visible")
    assert "40 \u00d7 30" in page.inner_text("#message")


def test_deep_pictures_are_saved_with_all_their_bits(page: Any, tmp_path: Path) -> None:
    path = GOLDEN / "aec1-11-extensions" / "ten-bits-q90.aec"
    assert saved_by(page, path, tmp_path / "saved.png").read_bytes()[24] == 16  # bits of a sample


def test_an_archive_is_read_by_ranges(page: Any, server: ThreadingHTTPServer, dist: Path) -> None:
    shard = dist / "shard.zip"
    with zipfile.ZipFile(shard, "w") as made:
        made.writestr("2019/large.bin", bytes(3_000_000))
        for name in ("plain-q50", "alpha-q60"):
            made.write(GOLDEN / "aec1-11" / f"{name}.aec", f"2019/{name}.jpg.aec")
        made.writestr("2019/kept.png", picture_file())
        made.comment = b"aecodec-shard 2"
    try:
        server.asked.clear()  # type: ignore[attr-defined]
        page.goto("/?url=/shard.zip")
        page.wait_for_function("document.querySelectorAll('.card canvas').length === 3")
        assert sum(size for name, size in server.asked if name == "shard.zip") < 200_000  # type: ignore[attr-defined]
        page.click(".card >> text=alpha-q60")
        page.wait_for_selector("#save:not([disabled])")
        page.keyboard.press("Escape")
        page.wait_for_selector("#gallery", state="visible")
    finally:
        shard.unlink()


def picture_file() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(file, "PNG")
    return file.getvalue()


def test_what_the_module_knows_of_the_models_is_what_is_released(dist: Path) -> None:
    text = (dist / "models.js").read_text()
    known = json.loads(text[text.index("{") : text.rindex("}") + 1])
    assert {identity: each["name"] for identity, each in known.items()} == {
        digest[:8]: name for name, digest in RELEASED.items()
    }
