// The charts, drawn by plotly in the page's own colours.

const MOST_DISTRIBUTIONS = 30;
const MOST_LAYERS = 40;
const MOST_CHARACTERS = 44;
const SYMBOLS = ["circle", "diamond", "square", "triangle-up", "cross"];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
// A value keeps its colour and symbol whatever is filtered.
const place = (of) => {
  const values = [...new Set(rows.map(of))].sort();
  return (row) => values.indexOf(of(row));
};
const precisionPlace = place(precision);
const backendPlace = place((row) => row.backend);
const colourOf = (row) => colour(`c${1 + (precisionPlace(row) % 6)}`);

function layout(more) {
  const axis = { gridcolor: colour("line"), linecolor: colour("line"), zeroline: false, automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("ink") },
    margin: { l: 60, r: 20, t: 30, b: 50 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("line"), activecolor: colour("quiet") },
    hoverlabel: { align: "left", bgcolor: colour("panel"), bordercolor: colour("line"), font: { color: colour("ink") } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    ...more,
    xaxis: { ...axis, ...more.xaxis },
    yaxis: { ...axis, ...more.yaxis, ...(more.yaxis.title && { title: { standoff: 12, ...more.yaxis.title } }) },
  };
}

const draw = (id, traces, more) =>
  Plotly.react(part(id), traces, layout(more), {
    displaylogo: false,
    responsive: true,
    // plotly's own choice has a button that sends the chart to its maker's server.
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
    plotlyServerURL: "",
  });

function hover(row) {
  const lines = [`<b>${plain(row.file.name)}</b>`, `${plain(network(row))}, ${plain(precision(row))}`];
  lines.push(...figures(row).map(([name, value]) => `${plain(name)}: ${plain(value)}`));
  return lines.join("<br>");
}

function tradeoff(some) {
  const { x, y, best } = state;
  part("tradeoff-section").hidden = !x || !y;
  if (!x || !y) return;
  const drawn = some.filter((row) => known(x.of(row)) && known(y.of(row)));
  const groups = Map.groupBy(drawn, (row) => `${precision(row)}, ${row.backend ?? "unknown backend"}`);
  const percent = (row) => 100 * y.of(row);
  const traces = [
    {
      name: "best",
      x: best.map(x.of),
      y: best.map(percent),
      mode: "lines",
      line: { shape: "hv", color: colour("quiet"), width: 1.5, dash: "dot" },
      hoverinfo: "skip",
    },
    ...[...groups].sort().map(([name, group]) => ({
      name: plain(name),
      x: group.map(x.of),
      y: group.map(percent),
      customdata: group.map((row) => row.index),
      text: group.map(hover),
      mode: "markers",
      hoverinfo: "text",
      marker: {
        size: 10,
        opacity: 0.85,
        color: colourOf(group[0]),
        symbol: SYMBOLS[backendPlace(group[0]) % SYMBOLS.length],
        line: { width: 1, color: colour("paper") },
      },
    })),
  ];
  draw("tradeoff", traces, {
    hovermode: "closest",
    annotations: frame(state.picked),
    xaxis: { title: { text: `${x.name} (${x.unit})` }, ...logarithmic(drawn.map(x.of)) },
    yaxis: { title: { text: plain(`${y.name} (%)`) } },
  });
  const left = some.length - drawn.length;
  part("tradeoff-lead").textContent =
    `Up and to the left is better; nothing shown beats the ${best.length} on the line. Click a point for all about it.` +
    (left ? ` ${left} of the results shown lack one of the two figures.` : "");
}

// A frame around a point. An annotation, because a trace would have plotly draw all points again.
function frame(row) {
  const [x, y] = row ? [state.x.of(row), state.y.of(row)] : [];
  if (!known(x) || !known(y)) return [];
  const box = { text: "", width: 16, height: 16, borderpad: 0, borderwidth: 2, bordercolor: colour("ink") };
  return [{ x: Math.log10(x), y: 100 * y, showarrow: false, ...box }];
}

// A logarithmic axis with numbers at 1, 2 and 5 of each decade, over many decades at 1, within one at all.
function logarithmic(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const span = high / low;
  const room = Math.max(0.03, 0.05 * Math.log10(span));
  const steps = span > 1000 ? [1] : span > 5 ? [1, 2, 5] : [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9];
  const tickvals = [];
  for (let power = Math.floor(Math.log10(low)) - 1; power <= Math.log10(high) + 1; power++) {
    tickvals.push(...steps.map((step) => step * 10 ** power));
  }
  return {
    type: "log",
    tickvals,
    ticktext: tickvals.map((value) => digits(value)),
    range: [Math.log10(low) - room, Math.log10(high) + room],
  };
}

// A logarithmic axis gives the same spread the same width, whatever the latency.
function latencies(some) {
  const measured = some.filter((row) => row.percentiles).sort((a, b) => a.p50 - b.p50);
  part("latencies-section").hidden = measured.length === 0;
  if (measured.length === 0) return;
  const drawn = measured.slice(0, MOST_DISTRIBUTIONS);
  const names = labels(drawn);
  const at = (percent) => drawn.map((row) => row.percentiles[percent]);
  const traces = [
    ...drawn.map((row, index) => ({
      type: "box",
      orientation: "h",
      y: [names[index]],
      lowerfence: [row.percentiles[5]],
      q1: [row.percentiles[25]],
      median: [row.percentiles[50]],
      q3: [row.percentiles[75]],
      upperfence: [row.percentiles[95]],
      line: { width: 1.5, color: colourOf(row) },
      width: 0.6,
      hoverinfo: "skip",
    })),
    {
      x: at(99),
      y: names,
      mode: "markers",
      marker: { symbol: "line-ns", size: 9, line: { width: 2, color: drawn.map(colourOf) } },
      hoverinfo: "skip",
    },
    // Wide and unseen, for the pointer to find.
    {
      x: at(50),
      y: names,
      mode: "markers",
      marker: { size: 16, opacity: 0 },
      customdata: drawn.map((row) => row.index),
      text: drawn.map(hover),
      hoverinfo: "text",
    },
  ];
  draw("latencies", traces, {
    height: 70 + 24 * drawn.length,
    showlegend: false,
    hovermode: "closest",
    xaxis: { title: { text: "ms" }, ...logarithmic([...at(5), ...at(99)]) },
    yaxis: { autorange: "reversed", categoryorder: "array", categoryarray: names, showgrid: false },
  });
  part("latencies-lead").textContent =
    "Boxes hold the middle half of all inferences, whiskers all from the 5th to the 95th percentile, the mark is the 99th. Fastest first" +
    (measured.length > drawn.length ? `: the first ${drawn.length} of ${measured.length}.` : ".");
}

// Every percentile of the row that is picked: steps are modes, a long tail is a machine that is interrupted.
function distribution(row) {
  part("distribution-section").hidden = !row?.percentiles;
  if (!row?.percentiles) return;
  draw(
    "distribution",
    [{ x: row.percentiles, y: row.percentiles.map((_, percent) => percent), mode: "lines", line: { color: colourOf(row), shape: "hv" }, hovertemplate: "%{y} % within %{x} ms<extra></extra>" }],
    {
      height: 230,
      xaxis: { title: { text: "ms" }, ...logarithmic(row.percentiles) },
      yaxis: { title: { text: "% of inferences" }, range: [0, 101] },
    },
  );
}

// File names with their medians, made different where they are the same.
function labels(some) {
  const seen = new Map();
  return some.map((row) => {
    const name = plain(`${shorten(row.file.name, MOST_CHARACTERS)}  ${format.ms(row.p50)}`);
    seen.set(name, (seen.get(name) ?? 0) + 1);
    return name + "\u200b".repeat(seen.get(name) - 1);
  });
}

function layers(row) {
  const known = row?.layers ?? [];
  part("layers-section").hidden = known.length === 0;
  if (known.length === 0) return;
  const slowest = [...known].sort((a, b) => b.ms - a.ms).slice(0, MOST_LAYERS);
  const drawn = known.filter((layer) => slowest.includes(layer));
  draw(
    "layers",
    [
      {
        type: "bar",
        orientation: "h",
        y: drawn.map((layer, index) => `${plain(shorten(layer.name, 60, 30))}${"\u200b".repeat(index)}`),
        x: drawn.map((layer) => layer.ms),
        marker: { color: colourOf(row) },
        text: drawn.map((layer) => plain(layer.operator)),
        hovertext: drawn.map((layer) =>
          [layer.name, layer.operator, format.ms(layer.ms), layer.share && format.percent(layer.share), layer.macs && `${format.amount(layer.macs)} MACs`, layer.gmacs_per_s && `${digits(layer.gmacs_per_s)} GMACs/s`]
            .filter(Boolean)
            .map(plain)
            .join("<br>"),
        ),
        hoverinfo: "text",
      },
    ],
    {
      height: 80 + 20 * drawn.length,
      xaxis: { title: { text: known.length > drawn.length ? `ms; the slowest ${drawn.length} of ${known.length} layers` : "ms" } },
      yaxis: { autorange: "reversed" },
    },
  );
}

function roofline(some) {
  const measured = some.filter((row) => row.roofline);
  part("roofline-section").hidden = measured.length === 0;
  if (measured.length === 0) return;
  const intensities = measured.map((row) => row.roofline.intensity);
  const roofs = new Map(measured.map(({ roofline: { peak_gflops, peak_gbps } }) => [`${peak_gflops} ${peak_gbps}`, [peak_gflops, peak_gbps]]));
  const traces = [...roofs.values()].map(([flops, bandwidth]) => {
    const ridge = flops / bandwidth;
    const x = [Math.min(...intensities, ridge) / 3, ridge, Math.max(...intensities, ridge) * 3];
    return {
      name: `${digits(flops)} GFLOP/s, ${digits(bandwidth)} GB/s`,
      x,
      y: x.map((intensity) => Math.min(flops, intensity * bandwidth)),
      mode: "lines",
      line: { color: colour("quiet") },
      hoverinfo: "skip",
    };
  });
  traces.push({
    name: "measured",
    x: intensities,
    y: measured.map((row) => row.roofline.achieved_gflops),
    customdata: measured.map((row) => row.index),
    mode: "markers",
    marker: { size: 10, color: measured.map(colourOf), line: { width: 1, color: colour("paper") } },
    text: measured.map((row) => `${hover(row)}<br>bound by ${plain(row.roofline.bound)}: ${format.percent(row.roofline.share)} of the roof`),
    hoverinfo: "text",
  });
  draw("roofline", traces, {
    hovermode: "closest",
    xaxis: { title: { text: "operations per byte" }, ...logarithmic(traces.flatMap((trace) => trace.x)) },
    yaxis: { title: { text: "GFLOP/s" }, ...logarithmic(traces.flatMap((trace) => trace.y)) },
  });
}
