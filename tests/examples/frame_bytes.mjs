// node frame_bytes.mjs IMAGE.JS MANIFEST.json RGBA.bin WIDTH HEIGHT: the network's input on standard output.
import { readFileSync, writeSync } from "node:fs";

const [code, manifest, rgba, width, height] = process.argv.slice(2);
const { frame, normalize } = await import(code);
const { inputs, preprocessing } = JSON.parse(readFileSync(manifest));
const pixels = frame({ width: Number(width), height: Number(height), data: readFileSync(rgba) }, preprocessing);
const input = inputs[0].dtype === "uint8" ? pixels : new Uint8Array(normalize(pixels, preprocessing).buffer);
for (let at = 0; at < input.length; ) at += writeSync(1, input, at);
