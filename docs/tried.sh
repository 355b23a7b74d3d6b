#!/usr/bin/env bash
# Three people try aecodec, and what they typed and saw: bash docs/tried.sh > docs/tried.md, in the root of a checkout from
# which aecodec was installed.
set -u
command -v aecodec > /dev/null || { echo "aecodec is not installed here" >&2; exit 1; }
cd "$(dirname "$0")/.." || exit 1
root=$PWD
folder=$(mktemp -d)
loops=()
end() {
    [ ${#loops[@]} -eq 0 ] || kill "${loops[@]}"
    rm -r "$folder"
}
trap end EXIT
cd "$folder" || exit 1
run() {
    printf '\n```\n$ %s\n' "$1"
    start=$(date +%s.%N)
    bash -c "$1" 2>&1
    code=$?
    took=$(awk "BEGIN {printf \"%.1f\", $(date +%s.%N) - $start}")
    [ $code -eq 0 ] && echo "($took s)" || echo "($took s, exit code $code)"
    printf '```\n'
}

printf '# Tried as three new users\n\n'
printf 'Made by `bash docs/tried.sh > docs/tried.md` from an installed fresh clone, %s. ' "$(cd "$root" && git log -1 --format='commit %h of %cs')"
printf 'Times are those of whole commands, start-up included; %s processors, of which others used %s at the beginning (load).\n' \
    "$(nproc)" "$(cut -d' ' -f1 /proc/loadavg)"
printf '\n## A newcomer\n'
cp "$root/examples/coffee.png" .
run 'aecodec compress coffee.png'
run 'aecodec info coffee.aec'
run 'aecodec decompress coffee.aec'
run 'aecodec decompress coffee.aec -o back.png'
run 'aecodec compress -f --size 20kB coffee.png'
run 'aecodec compress -f --psnr 60 coffee.png'
run 'aecodec compress -f coffee.png -o k.jxl'
run 'aecodec decompress coffee.png -o x.png'
run 'aecodec compress -f --model runs/decay.pt coffee.png'
run 'aecodec compres coffee.png'
printf '\n## A photographer\n'
mkdir -p card/DCIM
python - "$folder/coffee.png" <<'PYTHON'
import sys
from PIL import Image

image = Image.open(sys.argv[1]).convert("RGB")
for number in range(3):
    exif = Image.Exif()
    exif[0x0112], exif[0x0132] = 6, f"2024:05:0{number + 1} 10:00:00"
    image.rotate(number).save(f"card/DCIM/IMG_000{number + 1}.JPG", quality=97, exif=exif)
PYTHON
echo notes > card/notes.txt
run 'aecodec compress --dry-run -r card -o out/'
run 'aecodec compress -r card -o out/'
run 'aecodec decompress --upright out/DCIM/IMG_0001.aec -o upright.jpg'
run 'aecodec archive create card photos'
run 'aecodec archive list photos'
run 'aecodec archive verify photos'
python - card <<'PYTHON'
import sys
from pathlib import Path
from PIL import Image

root = Path(sys.argv[1])  # the next month's card counts from one again, and holds a picture of this one
new = root.parent / "card2" / "DCIM"
new.mkdir(parents=True)
mirrored = Image.open(root / "DCIM" / "IMG_0001.JPG").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
mirrored.save(new / "IMG_0001.JPG", quality=97)
(new / "IMG_0002.JPG").write_bytes((root / "DCIM" / "IMG_0003.JPG").read_bytes())
PYTHON
run 'aecodec archive append card2 photos --dry-run'
run 'aecodec archive append card2 photos --prefix june'
run 'aecodec archive find photos --since 2024-05-02 --until 2024-05-03'
run 'aecodec archive list photos "*.tif"'
run 'cp -r photos half && rm half/00000.zip && aecodec archive verify half'
run 'aecodec archive extract photos -o back'
printf '\n## A programmer\n'
cat > mistakes.py <<'PYTHON'
import numpy as np
import torch

import aecodec

picture = np.zeros((48, 64, 3), np.uint8)
data = aecodec.compress(picture, quality="60")
print(aecodec.decompress(data, as_array=True).shape, aecodec.info(data).quality)
for given in (picture.transpose(2, 0, 1), torch.zeros(3, 48, 64), [picture], picture / 255):
    try:
        aecodec.compress(given)
    except aecodec.AecodecError as error:
        print(error)
print(aecodec.decompress("coffee.aec").size)
PYTHON
run 'python mistakes.py'
run 'aecodec compress - < coffee.png | aecodec decompress - > piped.png'
run 'aecodec compress -f --json coffee.png'
run 'python -c "
import aecodec.pillow
from PIL import Image
Image.open(\"coffee.png\").save(\"c.aec\", psnr=32)
image = Image.open(\"c.aec\")
print(image.format, image.mode, image.size)
"'
printf '\n## On a machine made busy on purpose\n\nThe same beside %s busy loops for each processor.\n' 2
for _ in $(seq $(($(nproc) * 2))); do
    (while :; do :; done) &
    loops+=($!)
done
run 'aecodec compress -f coffee.png'
run 'aecodec decompress -f coffee.aec -o back.png'
run 'OMP_WAIT_POLICY=active aecodec compress -f coffee.png'
