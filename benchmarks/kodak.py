"""Rate-distortion table and BD-rates of aecodec and its peers on a folder of pictures, Kodak's for instance.

    python benchmarks/kodak.py FOLDER [--model FILE] [--codecs jpeg,webp,avif,aecodec] [--csv OUT] [--plot OUT.png]

Everything goes through the bytes of a file and 8-bit pixels. Results are cached, so only what is new is measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from aecodec.benchmark import codecs, curves, plots, report
from aecodec.benchmark.measure import find_photos, measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="a released model or a weights file")
    parser.add_argument("--codecs", default="jpeg,webp,avif,avif-444,aecodec,aecodec@0,aecodec@8")
    parser.add_argument("--anchor", default="jpeg")
    parser.add_argument("--metric", default="psnr_rgb")
    parser.add_argument("--csv", type=Path, help="write the result of every picture and quality")
    parser.add_argument("--plot", type=Path, help="write the curves as PNG")
    options = parser.parse_args()

    photos, problems = find_photos([options.folder])
    peers = [codecs.make(name, options.model) for name in options.codecs.split(",")]
    measurements, failed = measure(photos, peers, [options.metric], options.model)
    for problem in problems + failed:
        print(f"{problem.image} {problem.codec} {problem.quality or ''}: {problem.reason}")
    images = [photo.name for photo in photos]
    by_codec = {peer.name: curves.curve(measurements, peer.name, options.metric, images) for peer in peers}

    for peer in peers:
        print(f"\n{peer.title}: {peer.version}; {peer.settings} ({peer.reason})")
        for point in by_codec[peer.name]:
            print(f"  quality {point.quality:5g}  {point.bpp:7.4f} bpp  {point.score:7.3f} dB")
        own = [m for m in measurements if m.codec == peer.name]
        pixels = sum(8 * m.bytes / m.bpp for m in own) / 1e6
        encode, decode = (sum(getattr(m, f"{kind}_seconds") for m in own) for kind in ("encode", "decode"))
        print(f"  one thread: encode {pixels / encode:.2f} Mpixel/s, decode {pixels / decode:.2f} Mpixel/s")

    print(f"\nBD-rate against {options.anchor}, {options.metric}, {curves.INTERPOLATION} interpolation of log rate")
    print(f"{'':16}{'of the mean curves':>20}{'on':>18}{'mean over pictures':>22}{'worst':>9}{'best':>9}")
    for peer in peers:
        whole = curves.bd_rate(by_codec[options.anchor], by_codec[peer.name])
        each = curves.bd_rates_of_images(measurements, options.anchor, peer.name, options.metric, images).values()
        single = [bd.percent for bd in each if bd]
        if whole and single:
            print(
                f"{peer.name:16}{whole.percent:18.2f} %{whole.low:9.2f}..{whole.high:.2f} dB"
                f"{sum(single) / len(single):14.2f} % ({len(single):2}){max(single):9.2f}{min(single):9.2f}"
            )
        else:
            print(f"{peer.name:16} none: {curves.trouble(by_codec[peer.name]) or 'no common range'}")

    published = report.data_set_of(photos).get("curves", [])
    ours = [peer.name for peer in peers if peer.name.startswith("aecodec")]
    if published and ours:
        print("\nBD-rate of the mean curves against published curves, which were not measured here")
        print(f"{'':32}" + "".join(f"{name:>18}" for name in ours))
        for one in published:
            anchor = report.published_curve(one, options.metric)
            rates = [curves.bd_rate(anchor, by_codec[name]) for name in ours]
            print(f"{one['title']:32}" + "".join(f"{bd.percent:16.1f} %" if bd else f"{'none':>18}" for bd in rates))

    if options.csv:
        report.write_csv(options.csv, measurements)
    if options.plot:
        titles = {peer.name: peer.title for peer in peers}
        plots.draw(options.plot, by_codec, titles, options.metric, f"{options.folder.name}, {len(photos)} pictures")


if __name__ == "__main__":
    main()
