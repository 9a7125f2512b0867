// Engines that were measured in turns: how many times as long one takes as the other.

const comparisonNames = (item) => [item.name, item.baseline];

function comparisons() {
  const some = data.comparisons.filter((item) => `${item.path} ${item.baseline_path}`.toLowerCase().includes(state.search));
  part("comparisons-section").hidden = some.length === 0;
  if (some.length === 0) return;
  const sorted = [...some].sort((a, b) => a.ratio - b.ratio);
  const drawn = sorted.slice(0, MOST_DISTRIBUTIONS);
  // Names that are the same are told apart by what nobody sees.
  const names = drawn.map((item, index) => plain(comparisonNames(item).map((name) => shorten(name, MOST_CHARACTERS)).join(" / ")) + "\u200b".repeat(index));
  const verdicts = { faster: "c3", slower: "c2" };
  const colours = drawn.map((item) => colour(verdicts[item.verdict] ?? "c6"));
  const trace = {
    x: drawn.map((item) => item.ratio),
    y: names,
    mode: "markers",
    marker: { size: 9, color: colours },
    text: drawn.map((item) => plain(`${ratioText(item)}: ${item.verdict}`)),
    hoverinfo: "text",
    error_x: {
      type: "data",
      symmetric: false,
      array: drawn.map((item) => item.interval[1] - item.ratio),
      arrayminus: drawn.map((item) => item.ratio - item.interval[0]),
      color: colour("quiet"),
    },
  };
  draw("comparisons", [trace], {
    height: 70 + 24 * drawn.length,
    showlegend: false,
    hovermode: "closest",
    shapes: [{ type: "line", x0: 1, x1: 1, y0: 0, y1: 1, yref: "paper", line: { color: colour("quiet"), dash: "dot", width: 1.5 } }],
    xaxis: { title: { text: "times as long as its baseline" }, ...logarithmic([1, ...drawn.flatMap((item) => item.interval)]) },
    yaxis: { autorange: "reversed", categoryorder: "array", categoryarray: names, showgrid: false },
  });
  part("comparisons-lead").textContent =
    "How many times as long a file takes as its baseline, measured in turns, with a 95 % interval. Left of the line it is faster" +
    (sorted.length > drawn.length ? `; drawn are the first ${drawn.length} of ${sorted.length}.` : ".");
  const columns = ["file", "baseline", "backends", "machine", "batch", "p50", "baseline", "ratio", "", "measured"];
  const numbers = new Set([4, 5, 6, 7]);
  const className = (index) => (numbers.has(index) ? "" : "text");
  const body = sorted.slice(0, MOST_ROWS).map((item) => {
    const backends = [...new Set([item.backend, item.baseline_backend])].join(", ");
    const unlike = item.unlike.length ? `; unlike: ${item.unlike.join("; ")}` : "";
    const cells = [...comparisonNames(item), backends, item.host, item.batch, format.ms(item.p50), format.ms(item.baseline_p50), ratioText(item), item.verdict + unlike, format.time(item.time)];
    return element("tr", {}, ...cells.map((text, index) => element("td", { className: className(index) }, String(text))));
  });
  const head = columns.map((name, index) => element("th", { scope: "col", className: className(index) }, name));
  part("comparisons-table").replaceChildren(element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
}

const ratioText = (item) => `${digits(item.ratio)} (${item.interval.map((value) => digits(value)).join(" to ")})`;
