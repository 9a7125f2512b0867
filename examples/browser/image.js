// From a photograph to a network's input, with the bytes that edgecnn/runtime/preprocessing.py gives: fit it into
// the input, order the channels, normalize.
import { resize, roundHalfToEven } from "./resample.js";

// From {width, height} of a picture and of the input to the size that the picture gets, and where the input's
// corner lies in that: before it (negative) where there is padding.
const FITS = {
  crop(picture, input, share) {
    const { width, height } = covering(input, share);
    const resized =
      width * picture.height >= height * picture.width
        ? { width, height: Math.trunc((width * picture.height) / picture.width) }
        : { width: Math.trunc((height * picture.width) / picture.height), height };
    return {
      ...resized,
      left: roundHalfToEven((resized.width - input.width) / 2),
      top: roundHalfToEven((resized.height - input.height) / 2),
    };
  },
  "crop-paddle"(picture, input, share) {
    const least = covering(input, share);
    const scale = Math.max(least.height / picture.height, least.width / picture.width);
    const width = roundHalfToEven(picture.width * scale);
    const height = roundHalfToEven(picture.height * scale);
    const corner = (resized, side) => Math.floor((resized - side) / 2);
    return { width, height, left: corner(width, input.width), top: corner(height, input.height) };
  },
  stretch: (picture, input) => ({ ...input, left: 0, top: 0 }),
  letterbox(picture, input) {
    const scale = Math.min(input.height / picture.height, input.width / picture.width);
    const width = Math.max(1, roundHalfToEven(picture.width * scale));
    const height = Math.max(1, roundHalfToEven(picture.height * scale));
    const before = (side, resized) => -roundHalfToEven((side - resized) / 2 - 0.1);
    return { width, height, left: before(input.width, width), top: before(input.height, height) };
  },
  "letterbox-corner"(picture, input) {
    const scale = Math.min(input.height / picture.height, input.width / picture.width);
    const width = Math.max(1, Math.trunc(picture.width * scale));
    return { width, height: Math.max(1, Math.trunc(picture.height * scale)), left: 0, top: 0 };
  },
};

// Decodes a Blob, upright, to {width, height, data}, where data holds RGBA. The canvas multiplies colours by their
// opacity and back; what that rounds away is not seen on white.
export async function decode(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

// A manifest's preprocessing with all that the first ones do not say: they say `size`, of a square.
export function complete(preprocessing) {
  const { size, mean } = preprocessing;
  const first = { height: size, width: size, fit: "crop", crop: 1, pad: [], color: "rgb", pixels: 1 };
  const all = { ...first, ...preprocessing };
  return mean.length === 1 ? { ...all, color: "grey" } : all;
}

// Returns the fitted image: height x width x channels, uint8, not normalised.
export function frame({ width, height, data }, preprocessing) {
  const { fit, crop, pad, interpolation, color, mean, ...input } = complete(preprocessing);
  if (!FITS[fit]) throw new Error(`fit ${fit} is not written here`);
  const bands = color === "grey" ? 1 : 3;
  const picture = { width, height };
  const fitted = FITS[fit](picture, { width: input.width, height: input.height }, crop);
  const pixels = resize(take(data, bands), picture, fitted, bands, interpolation);
  // Of each channel of the input, the band of the picture.
  const bandOf = mean.map((_, channel) => (color === "bgr" ? 2 - (channel % 3) : channel % bands));
  const result = new Uint8Array(input.height * input.width * mean.length);
  let at = 0;
  for (let y = fitted.top; y < fitted.top + input.height; y++) {
    for (let x = fitted.left; x < fitted.left + input.width; x++) {
      const inside = y >= 0 && y < fitted.height && x >= 0 && x < fitted.width;
      for (let channel = 0; channel < mean.length; channel++) {
        const around = pad[pad.length === 1 ? 0 : channel % bands];
        result[at++] = inside ? pixels[(y * fitted.width + x) * bands + bandOf[channel]] : around;
      }
    }
  }
  return result;
}

// Turns a frame into a float32 input, channels first.
export function normalize(frame, preprocessing) {
  const { mean, std, pixels } = complete(preprocessing);
  const channels = mean.length;
  const plane = frame.length / channels;
  const result = new Float32Array(frame.length);
  mean.forEach((value, channel) => {
    const scale = Math.fround(1 / ((255 / pixels) * std[channel]));
    const offset = Math.fround(-value / std[channel]);
    for (let i = 0; i < plane; i++) {
      result[channel * plane + i] = Math.fround(frame[i * channels + channel] * scale) + offset;
    }
  });
  return result;
}

function covering({ width, height }, share) {
  return { width: Math.trunc(width / share), height: Math.trunc(height / share) };
}

// RGBA to RGB, or to grey by the weights of ITU-R BT.601. What is transparent is composed on white.
function take(rgba, bands) {
  const result = new Uint8Array((rgba.length / 4) * bands);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    const alpha = rgba[from + 3];
    const red = onWhite(rgba[from], alpha);
    const green = onWhite(rgba[from + 1], alpha);
    const blue = onWhite(rgba[from + 2], alpha);
    if (bands === 1) {
      result[to++] = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16;
    } else {
      result[to++] = red;
      result[to++] = green;
      result[to++] = blue;
    }
  }
  return result;
}

function onWhite(value, alpha) {
  return alpha === 255 ? value : Math.floor((alpha * value + (255 - alpha) * 255 + 127) / 255);
}
