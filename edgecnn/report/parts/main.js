// The controls, and what happens when they change.

function redraw() {
  const some = shown();
  part("count").textContent = `${some.length} of ${rows.length} shown`;
  state.best = front(some);
  if (!some.includes(state.picked)) state.picked = state.best[0] ?? some[0] ?? null;
  tradeoff(some);
  latencies(some);
  comparisons();
  roofline(some);
  conditions(some);
  show(some);
}

// What changes when another row is picked.
function show(some) {
  results(some);
  details(state.picked);
  distribution(state.picked);
  layers(state.picked);
}

function pick(row) {
  state.picked = row;
  if (state.x && state.y) Plotly.relayout("tradeoff", { annotations: frame(row) });
  show(shown());
}

function choose(id, axes, key) {
  const select = part(id);
  select.replaceChildren(...axes.map((axis, index) => element("option", { value: index }, axis.name)));
  select.addEventListener("change", () => {
    state[key] = axes[select.value];
    redraw();
  });
  select.closest("label").hidden = axes.length === 0;
}

function facet([name, of]) {
  const counts = new Map();
  for (const row of rows) counts.set(of(row), (counts.get(of(row)) ?? 0) + 1);
  const chosen = state.chosen.get(name);
  const chips = [...counts.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true })).map((value) => {
    const box = element("input", { type: "checkbox", name, value });
    box.addEventListener("change", () => {
      if (box.checked) chosen.add(value);
      else chosen.delete(value);
      redraw();
    });
    return element("label", { className: "chip" }, box, `${value} `, element("small", {}, String(counts.get(value))));
  });
  // With one value there is nothing to choose.
  return element("fieldset", { hidden: counts.size < 2 }, element("legend", {}, name), ...chips);
}

function listen() {
  const controls = part("controls");
  part("search").addEventListener("input", (event) => {
    state.search = event.target.value.toLowerCase();
    redraw();
  });
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("reset", () => {
    for (const chosen of state.chosen.values()) chosen.clear();
    Object.assign(state, { x: ACROSS[0], y: UPWARDS[0], search: "" });
    redraw();
  });
  for (const id of ["tradeoff", "latencies", "roofline"]) {
    part(id).on?.("plotly_click", ({ points }) => known(points[0].customdata) && pick(rows[points[0].customdata]));
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

const hosts = new Set([...rows, ...data.comparisons].map((row) => row.host));
const times = [...rows, ...data.comparisons].map((row) => row.time).sort();
part("summary").textContent =
  `${rows.length + data.comparisons.length} of ${data.stored} stored results, ${data.files.length} ${data.files.length === 1 ? "file" : "files"}, ${hosts.size === 1 ? [...hosts][0] : `${hosts.size} machines`}, ` +
  `${format.time(times[0])} to ${format.time(times.at(-1))}` +
  (data.filters.length ? `; only ${data.filters.join(" and ")}` : "");
part("made").textContent = `Made by edgecnn ${data.version} on ${format.time(data.made)}. Nothing on this page was fetched from a network.`;
choose("x-axis", ACROSS, "x");
choose("y-axis", UPWARDS, "y");
part("facets").replaceChildren(...FACETS.map(facet));
for (const id of ["results-section", "conditions-section", "count"]) part(id).hidden = rows.length === 0;
redraw();
listen();
