// Numbers and texts for people.
"use strict";

const known = (value) => value !== null && value !== undefined;
const digits = (value, count = 3) => Number(value.toPrecision(count)).toLocaleString("en", { maximumFractionDigits: 6 });

const scaled = (value, units) => {
  const [size, unit] = units.find(([size]) => value >= size) ?? [1, ""];
  return `${digits(value / size)} ${unit}`.trim();
};

const format = {
  ms: (value) => `${digits(value)} ms`,
  mj: (value) => `${digits(value)} mJ`,
  bytes: (value) => scaled(value, [[1e6, "MB"], [1e3, "kB"], [1, "bytes"]]),
  amount: (value) => scaled(value, [[1e9, "G"], [1e6, "M"], [1e3, "k"]]),
  percent: (value) => `${(100 * value).toFixed(1)} %`,
  rate: (value) => `${digits(value)} / s`,
  time: (value) => value.slice(0, 16).replace("T", " "),
  hash: (value) => value.slice(0, 12),
  text: (value) => (typeof value === "number" ? digits(value, 6) : /^[0-9a-f]{64}$/.test(value) ? format.hash(value) : String(value)),
};

// plotly reads its texts as a kind of HTML.
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");

// A name that leaves a chart its room; what goes is its middle, after so many characters of its beginning.
const shorten = (text, length, first = 20) =>
  text.length <= length ? text : `${text.slice(0, first)}…${text.slice(first + 1 - length)}`;

// An element with properties and children; texts stay texts.
function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const part = (id) => document.getElementById(id);
