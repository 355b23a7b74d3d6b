// Decodes files with the module of a folder, by Node: node decode.mjs FOLDER IN OUT IN OUT ...; OUT gets RGBA samples.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, ...paths] = process.argv.slice(2);
const { Decoder } = await import(pathToFileURL(`${folder}/index.js`));
const decoder = new Decoder();
for (let i = 0; i < paths.length; i += 2) {
  const data = readFileSync(paths[i]);
  const picture = await decoder.decode(data);
  const { width, height } = await decoder.inspect(data);
  if (picture.width !== width || picture.height !== height) throw new Error(`${paths[i]}: another size than it says`);
  writeFileSync(paths[i + 1], picture.data);
}
