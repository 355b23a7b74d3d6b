#!/usr/bin/env bash
# The command line as a new user tries it: bash docs/tried.sh > docs/tried.md, in the root of a checkout, aecodec installed.
set -u
command -v aecodec > /dev/null || { echo "aecodec is not installed here" >&2; exit 1; }
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
cp examples/coffee.png "$folder"
cd "$folder"
run() {
    printf '\n```\n$ %s\n' "$1"
    bash -c "$1" 2>&1
    code=$?
    [ $code -eq 0 ] || echo "(exit code $code)"
    printf '```\n'
}

printf '# Tried as a new user\n\nMade by `bash docs/tried.sh > docs/tried.md`; `examples/coffee.png` is copied into an empty folder first.\n'
printf '\n## There and back\n'
run 'aecodec compress coffee.png'
run 'aecodec info coffee.aec'
run 'aecodec decompress coffee.aec'
run 'aecodec decompress coffee.aec -o back.png'
run 'aecodec compare coffee.png coffee.aec'
printf '\n## A size, a fidelity\n'
run 'aecodec compress -f --size 20kB coffee.png'
run 'aecodec compress -f --bpp 0.3 coffee.png'
run 'aecodec compress -f --psnr 32 coffee.png'
run 'aecodec compress -f --bpp 0.3 --min-psnr 30 coffee.png'
run 'aecodec compress -f --size 20 coffee.png'
run 'aecodec compress -f --psnr 60 coffee.png'
run 'aecodec compress -f --bpp 1 --psnr 30 coffee.png'
printf '\n## A part, a pipe, JSON\n'
run 'aecodec decompress --region 100,50,200,150 coffee.aec -o part.png && python -c "from PIL import Image; print(Image.open(\"part.png\").size)"'
run 'aecodec decompress --region 500,50,200,150 coffee.aec -o part.png -f'
run 'aecodec compress - < coffee.png | aecodec decompress - > piped.png'
run 'aecodec compress -f --json coffee.png'
printf '\n## Mistakes\n'
run 'aecodec compress missing.jpg'
run 'aecodec compress .'
run 'aecodec decompress coffee.png -o x.png'
run 'head -c 1000 coffee.aec > cut.aec; aecodec decompress cut.aec'
run 'aecodec decompress coffee.aec -o back.xyz'
run 'aecodec compres coffee.png'
printf '\n## Pillow\n'
run 'python -c "
import aecodec
from PIL import Image
Image.open(\"coffee.png\").save(\"c.aec\", psnr=32)
image = Image.open(\"c.aec\")
print(image.format, image.mode, image.size)
"'
rm -r "$folder"
