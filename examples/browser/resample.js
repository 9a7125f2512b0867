// From one size to another, level for level as Pillow or OpenCV does it. A canvas resizes otherwise in every browser.

const WEIGHT_BITS = 22; // of a weight's fraction, in Pillow
const OPENCV_BITS = 11; // in OpenCV

// Pillow's filters, which antialias: how far one reaches, and its weight at a distance.
const FILTERS = {
  box: { reach: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
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
  lanczos: { reach: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

// Resizes pixels, rows of `channels` bytes each, from one {width, height} to another.
export function resize(pixels, from, to, channels, interpolation) {
  if (from.width === to.width && from.height === to.height) return pixels;
  if (interpolation === "nearest") return nearest(pixels, from, to, channels);
  if (interpolation === "opencv-bilinear") return opencvBilinear(pixels, from, to, channels);
  const filter = FILTERS[interpolation];
  if (!filter) throw new Error(`interpolation ${interpolation} is not written here`);
  const rows = (width) => {
    if (to.height !== from.height) pixels = resample(pixels, 1, from.height, width * channels, to.height, filter);
  };
  const columns = (height) => {
    if (to.width !== from.width) pixels = resample(pixels, height, from.width, channels, to.width, filter);
  };
  // Each pass rounds, so that the order is seen: as in Pillow, fewer rows come first where they are many fewer.
  const fewer = from.height - to.height;
  if (fewer > 0 && fewer > 2 * (from.width - to.width)) {
    rows(from.width);
    columns(to.height);
  } else {
    columns(from.height);
    rows(to.width);
  }
  return pixels;
}

// As Python rounds; Math.round rounds halves up.
export function roundHalfToEven(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 !== 0 ? up - 1 : up;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
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

// Pillow's: a place is the one before it plus a step, with what that rounds.
function nearest(pixels, from, to, channels) {
  const places = (length, wanted) => {
    const step = length / wanted;
    let place = step * 0.5;
    return Array.from({ length: wanted }, () => {
      const index = Math.trunc(place);
      place += step;
      return index;
    });
  };
  const columns = places(from.width, to.width);
  const result = new Uint8Array(to.width * to.height * channels);
  let at = 0;
  for (const y of places(from.height, to.height)) {
    for (const x of columns) {
      for (let c = 0; c < channels; c++) result[at++] = pixels[(y * from.width + x) * channels + c];
    }
  }
  return result;
}

// cv2.INTER_LINEAR: the four pixels around a place; where both sides are halved, their mean.
function opencvBilinear(pixels, from, to, channels) {
  const result = new Uint8Array(to.width * to.height * channels);
  const row = from.width * channels;
  let at = 0;
  if (from.width === 2 * to.width && from.height === 2 * to.height) {
    for (let y = 0; y < to.height; y++) {
      for (let x = 0; x < to.width * channels; x++) {
        const c = x % channels;
        const start = 2 * y * row + 2 * (x - c) + c;
        const four = pixels[start] + pixels[start + channels] + pixels[start + row] + pixels[start + row + channels];
        result[at++] = (four + 2) >> 2;
      }
    }
    return result;
  }
  const columns = neighbours(from.width, to.width, true);
  for (const [upper, lower, above, below] of neighbours(from.height, to.height, false)) {
    for (const [left, right, before, after] of columns) {
      for (let c = 0; c < channels; c++) {
        const mixed = (y) =>
          (pixels[y * row + left * channels + c] * before + pixels[y * row + right * channels + c] * after) >> 4;
        result[at++] = (((mixed(upper) * above) >> 16) + ((mixed(lower) * below) >> 16) + 2) >> 2;
      }
    }
  }
  return result;
}

// For each place along an axis: the pixels before and after it, and their weights.
function neighbours(length, wanted, wholeAtEnd) {
  const scale = 1 / (wanted / length);
  const last = length - 1;
  return Array.from({ length: wanted }, (_, to) => {
    const place = Math.fround((to + 0.5) * scale - 0.5);
    const first = Math.floor(place);
    const fraction = wholeAtEnd && (first < 0 || first >= last) ? 0 : Math.fround(place - first);
    const weights = [Math.fround(1 - fraction), fraction].map((part) => roundHalfToEven(part * 2 ** OPENCV_BITS));
    return [Math.min(Math.max(first, 0), last), Math.min(Math.max(first + 1, 0), last), ...weights];
  });
}
