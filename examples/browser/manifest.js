// The manifest inside an ONNX file. onnxruntime-web does not hand out a file's metadata, so the outermost
// fields of the protocol-buffers message are walked here; the network itself is skipped by its length.
const METADATA_PROPS = 14; // of ModelProto
const KEY = 1; // of StringStringEntryProto
const VALUE = 2;

// Returns the manifest as an object; throws an Error where there is none.
export function readManifest(bytes) {
  const text = new TextDecoder();
  for (const [number, content] of fields(bytes)) {
    if (number !== METADATA_PROPS) continue;
    const entry = new Map(fields(content));
    if (text.decode(entry.get(KEY)) === "edgecnn") return JSON.parse(text.decode(entry.get(VALUE)));
  }
  throw new Error("the file carries no manifest; export it with edgecnn");
}

// Yields [field number, content]; a number's content is empty.
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    // By multiplication: shifts work on 32 bits, and a large model is longer than they can say.
    for (let value = 0, unit = 1; ; unit *= 128) {
      if (at >= bytes.length) throw new Error("the model is cut short, or no ONNX file");
      const byte = bytes[at++];
      value += (byte % 128) * unit;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag % 8;
    let length = 0;
    if (kind === 0) varint();
    else if (kind === 1) length = 8;
    else if (kind === 2) length = varint();
    else if (kind === 5) length = 4;
    else throw new Error("this is no ONNX file");
    if (at + length > bytes.length) throw new Error("the model is cut short, or no ONNX file");
    yield [Math.floor(tag / 8), bytes.subarray(at, at + length)];
    at += length;
  }
}
