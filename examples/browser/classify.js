// A classifier from a file that edgecnn exported: Classifier.load(url), then classify(photo).
import * as ort from "onnxruntime-web";

import { complete, decode, frame, normalize } from "./image.js";
import { readManifest } from "./manifest.js";

export class Classifier {
  // Fetches and compiles the model; for the life of the page.
  static async load(url) {
    const bytes = new Uint8Array(await (await get(url)).arrayBuffer());
    const manifest = readManifest(bytes);
    const session = await ort.InferenceSession.create(bytes);
    return new Classifier(session, manifest, await labels(manifest.labels, url));
  }

  constructor(session, manifest, names) {
    this.session = session;
    this.manifest = manifest;
    this.names = names;
  }

  // The most probable classes of a photo (a Blob), best first: [{index, label, probability}].
  async classify(photo, top = 5) {
    const image = await decode(photo);
    const [inputName] = this.session.inputNames;
    const results = await this.session.run({ [inputName]: this.input(image) });
    const logits = results[this.session.outputNames[0]].data;
    const largest = logits.reduce((a, b) => Math.max(a, b));
    const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
    const sum = powers.reduce((a, b) => a + b);
    return powers
      .map((power, index) => ({ index, label: this.label(index, powers.length), probability: power / sum }))
      .sort((a, b) => b.probability - a.probability)
      .slice(0, top);
  }

  input(image) {
    const { preprocessing, inputs } = this.manifest;
    const { height, width, mean } = complete(preprocessing);
    const pixels = frame(image, preprocessing);
    if (inputs[0].dtype === "uint8") return new ort.Tensor("uint8", pixels, [1, height, width, mean.length]);
    return new ort.Tensor("float32", normalize(pixels, preprocessing), [1, mean.length, height, width]);
  }

  label(index, classes) {
    return this.names.length === classes ? this.names[index] : `class ${index}`;
  }
}

// A manifest lists its labels, or names a set, whose file lies beside the model: imagenet.txt.
async function labels(listed, model) {
  if (Array.isArray(listed)) return listed;
  if (!listed) return [];
  const text = await (await get(new URL(`${listed}.txt`, new URL(model, location)))).text();
  return text.split(/\r?\n/).filter((line) => line && !line.startsWith("#"));
}

async function get(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} is not there (${response.status})`);
  return response;
}
