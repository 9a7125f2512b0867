// From a photograph to a network's input, with the bytes that edgecnn/runtime/preprocessing.py gives: resize the
// shorter side, crop the centre. Resampling is Pillow's: separable, antialiased, fixed-point. A canvas
// resizes otherwise in every browser.

const WEIGHT_BITS = 22; // of a weight's fraction

const FILTERS = {
  bilinear: { reach: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    reach: 2,
    // The cubic convolution kernel of Keys, 1981, with a = -0.5.
    weight: (signed) => {
      const x = Math.abs(signed);
      if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
    },
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

// Returns the resized and cropped image: size x size x channels, uint8, not normalised.
export function frame({ width, height, data }, { size, crop, interpolation, mean }) {
  const filter = FILTERS[interpolation];
  if (!filter) throw new Error(`interpolation ${interpolation} is not written here`);
  const channels = mean.length;
  const side = Math.trunc(size / crop);
  const other = Math.trunc((side * Math.max(width, height)) / Math.min(width, height));
  const [wide, high] = width <= height ? [side, other] : [other, side];
  let pixels = take(data, channels);
  if (wide !== width) pixels = resample(pixels, height, width, channels, wide, filter);
  if (high !== height) pixels = resample(pixels, 1, height, wide * channels, high, filter);
  const left = roundHalfToEven((wide - size) / 2);
  const top = roundHalfToEven((high - size) / 2);
  const result = new Uint8Array(size * size * channels);
  for (let y = 0; y < size; y++) {
    const start = ((top + y) * wide + left) * channels;
    result.set(pixels.subarray(start, start + size * channels), y * size * channels);
  }
  return result;
}

// Turns a frame into a float32 input, channels first.
export function normalize(pixels, { mean, std }) {
  const channels = mean.length;
  const plane = pixels.length / channels;
  const result = new Float32Array(pixels.length);
  mean.forEach((value, channel) => {
    const scale = 1 / (255 * std[channel]);
    const offset = -value / std[channel];
    for (let i = 0; i < plane; i++) result[channel * plane + i] = pixels[i * channels + channel] * scale + offset;
  });
  return result;
}

// RGBA to RGB, or to grey by the weights of ITU-R BT.601. What is transparent is composed on white.
function take(rgba, channels) {
  if (channels !== 1 && channels !== 3) throw new Error("an image has 1 or 3 channels");
  const result = new Uint8Array((rgba.length / 4) * channels);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    const alpha = rgba[from + 3];
    const red = onWhite(rgba[from], alpha);
    const green = onWhite(rgba[from + 1], alpha);
    const blue = onWhite(rgba[from + 2], alpha);
    if (channels === 1) {
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

// Resizes one axis of an image seen as (outer, length, inner), and gives (outer, wanted, inner).
function resample(pixels, outer, length, inner, wanted, filter) {
  const result = new Uint8ClampedArray(outer * wanted * inner);
  const all = windows(length, wanted, filter);
  let to = 0;
  for (let o = 0; o < outer; o++) {
    for (const { first, weights } of all) {
      const start = (o * length + first) * inner;
      for (let i = 0; i < inner; i++) {
        let total = 1 << (WEIGHT_BITS - 1);
        for (let k = 0; k < weights.length; k++) total += weights[k] * pixels[start + k * inner + i];
        result[to++] = total >> WEIGHT_BITS;
      }
    }
  }
  return result;
}

// Which pixels of the original make each one of the result, and with which fixed-point weights.
function windows(length, wanted, { reach, weight }) {
  const scale = length / wanted;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: wanted }, (_, to) => {
    const centre = (to + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach * stretch + 0.5));
    const last = Math.min(length, Math.trunc(centre + reach * stretch + 0.5));
    const exact = Array.from({ length: last - first }, (_, k) => weight((first + k - centre + 0.5) / stretch));
    const sum = exact.reduce((a, b) => a + b);
    const weights = exact.map((value) => {
      const scaled = (value / sum) * 2 ** WEIGHT_BITS;
      return Math.trunc(scaled + Math.sign(scaled) * 0.5);
    });
    return { first, weights };
  });
}

// As Python rounds; Math.round rounds halves up.
function roundHalfToEven(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 !== 0 ? up - 1 : up;
}
