// What is known of each row, and which rows the controls leave.

const data = JSON.parse(part("data").textContent);
const rows = data.rows.map((row, index) => ({
  ...row,
  index,
  file: data.files[row.file],
  conditions: data.conditions[row.conditions],
}));

const FACETS = [
  ["Network", (row) => row.file.architecture ?? "unknown"],
  ["Precision", (row) => precision(row)],
  ["Backend", (row) => row.backend ?? "unknown"],
  ["Device", (row) => row.device ?? "unknown"],
  ["Machine", (row) => row.host],
  ["Batch", (row) => (known(row.batch) ? `batch ${row.batch}` : "unknown")],
];

function precision(row) {
  const { precision, target } = row.file;
  if (!known(precision)) return "unknown";
  return precision === "int8" && known(target) ? `int8 ${target}` : precision;
}

function network(row) {
  const { architecture, alpha, resolution } = row.file;
  if (!known(architecture)) return "unknown";
  return architecture + (known(alpha) && alpha !== 1 ? ` × ${digits(alpha)}` : "") + (known(resolution) ? ` @ ${resolution}` : "");
}

// Less is better on the axis across.
const ACROSS = [
  { name: "latency, median", of: (row) => row.p50, show: format.ms, unit: "ms" },
  { name: "latency, 99th percentile", of: (row) => row.p99, show: format.ms, unit: "ms" },
  { name: "size", of: (row) => (known(row.file.bytes) ? row.file.bytes / 1e6 : null), show: (value) => format.bytes(value * 1e6), unit: "MB" },
  { name: "energy per image", of: (row) => row.millijoules, show: format.mj, unit: "mJ" },
  { name: "multiply-accumulates", of: (row) => (known(row.file.macs) ? row.file.macs / 1e6 : null), show: (value) => format.amount(value * 1e6), unit: "M" },
  { name: "parameters", of: (row) => (known(row.file.params) ? row.file.params / 1e6 : null), show: (value) => format.amount(value * 1e6), unit: "M" },
].filter((axis) => rows.some((row) => known(axis.of(row))));

// More is better on the axis upwards. Accuracies on different images cannot be compared: each data set is an axis.
const dataSets = [...new Set(rows.flatMap((row) => Object.keys(row.accuracy)))];
const metrics = [...new Set(rows.flatMap((row) => Object.values(row.accuracy).flatMap(({ metric }) => metric?.name ?? [])))];
const share = (row, name, metric) => (row.accuracy[name]?.metric?.name === metric ? row.accuracy[name].metric.share : null);
const UPWARDS = [
  ...dataSets.flatMap((name) => [
    { name: `top-1 on ${name}`, of: (row) => row.accuracy[name]?.top1 ?? null },
    { name: `top-5 on ${name}`, of: (row) => row.accuracy[name]?.top5 ?? null },
    ...metrics.map((metric) => ({ name: `${metric} on ${name}`, of: (row) => share(row, name, metric) })),
  ]),
  { name: "agreement with the network it was made from", of: (row) => row.agreement },
].filter((axis) => rows.some((row) => known(axis.of(row))));

const count = (axis) => rows.filter((row) => known(axis.of(row))).length;
UPWARDS.sort((a, b) => count(b) - count(a));

const state = { x: ACROSS[0], y: UPWARDS[0], search: "", chosen: new Map(FACETS.map(([name]) => [name, new Set()])), picked: null, best: [] };

// A facet of which nothing is chosen lets everything through.
function shown() {
  return rows.filter(
    (row) =>
      row.file.path.toLowerCase().includes(state.search) &&
      FACETS.every(([name, of]) => state.chosen.get(name).size === 0 || state.chosen.get(name).has(of(row))),
  );
}

// The rows that no other one beats in both directions, from left to right.
function front(some) {
  const { x, y } = state;
  if (!x || !y) return [];
  const sorted = some
    .filter((row) => known(x.of(row)) && known(y.of(row)))
    .sort((a, b) => x.of(a) - x.of(b) || y.of(b) - y.of(a));
  let best = -Infinity;
  return sorted.filter((row) => y.of(row) > best && ((best = y.of(row)), true));
}
