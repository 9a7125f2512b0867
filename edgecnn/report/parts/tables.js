// The tables, and all about the row that is picked.

const MOST_ROWS = 200;

// Name and value of every figure of a row that is known.
function figures(row) {
  const interval = row.p50_interval.length ? ` (${row.p50_interval.map((value) => digits(value)).join(" to ")})` : "";
  const found = [
    ["latency", known(row.p50) && format.ms(row.p50) + interval],
    ["99th percentile", known(row.p99) && format.ms(row.p99)],
    ["images", known(row.throughput) && format.rate(row.throughput)],
    ["energy per image", known(row.millijoules) && format.mj(row.millijoules)],
    ["size", known(row.file.bytes) && format.bytes(row.file.bytes)],
    ["MACs", known(row.file.macs) && format.amount(row.file.macs)],
    ["parameters", known(row.file.params) && format.amount(row.file.params)],
    ["agreement", known(row.agreement) && format.percent(row.agreement)],
    ["signal to noise", known(row.sqnr_db) && `${digits(row.sqnr_db)} dB${row.against ? ` to ${row.against}` : ""}`],
    ...Object.entries(row.accuracy).map(([name, found]) => [`${found.metric?.name ?? "top-1"} on ${name}`, accuracyText(row, found)]),
    ["weights", row.file.weights],
    ["machine", `${row.host}, ${row.device ?? "unknown device"}`],
    ["measured", format.time(row.time)],
  ];
  return found.filter(([, value]) => value);
}

function accuracyText(row, found) {
  const interval = found.interval ? ` (${found.interval.map(format.percent).join(" to ")})` : "";
  const other = found.sha256 === row.file.sha256 ? "" : `, of ${found.file}, which it was compiled from`;
  return `${format.percent(found.metric?.share ?? found.top1)}${interval}, ${found.n} images${other}`;
}

const COLUMNS = [
  { name: "file", text: true, of: (row) => row.file.name, show: String },
  { name: "network", text: true, of: network, show: String },
  { name: "precision", text: true, of: precision, show: String },
  { name: "backend", text: true, of: (row) => row.backend, show: String },
  { name: "machine", text: true, of: (row) => row.host, show: String },
  { name: "p50", of: (row) => row.p50, show: format.ms },
  { name: "p99", of: (row) => row.p99, show: format.ms },
  { name: "energy", of: (row) => row.millijoules, show: format.mj },
  { name: "size", of: (row) => row.file.bytes, show: format.bytes },
  { name: "MACs", of: (row) => row.file.macs, show: format.amount },
  { name: "accuracy", of: (row) => state.y?.of(row), show: format.percent },
].filter((column, index) => index === 0 || rows.some((row) => known(column.of(row))));

const sorting = { column: COLUMNS.find((column) => column.name === "p50") ?? COLUMNS[0], descending: false };

function results(some) {
  const { of } = sorting.column;
  const sign = sorting.descending ? -1 : 1;
  // What is unknown comes last either way.
  const order = (a, b) => known(of(b)) - known(of(a)) || sign * (of(a) < of(b) ? -1 : of(a) > of(b) ? 1 : 0);
  const sorted = [...some].sort(order);
  const head = COLUMNS.map((column) => {
    const button = element("button", { type: "button", textContent: column.name });
    button.addEventListener("click", () => {
      sorting.descending = sorting.column === column && !sorting.descending;
      sorting.column = column;
      show(shown());
    });
    const sort = sorting.column !== column ? "none" : sorting.descending ? "descending" : "ascending";
    return element("th", { scope: "col", className: column.text ? "text" : "", "aria-sort": sort }, button);
  });
  const body = sorted.slice(0, MOST_ROWS).map((row) => {
    const cells = COLUMNS.map((column) => {
      const value = column.of(row);
      const cell = element("td", { className: column.text ? "text" : "" }, known(value) ? column.show(value) : "–");
      if (column === COLUMNS[0] && state.best.includes(row)) cell.append(element("span", { className: "front", title: "on the line of the best", textContent: " ●" }));
      return cell;
    });
    const line = element("tr", { tabIndex: 0, "aria-selected": row === state.picked }, ...cells);
    line.addEventListener("click", () => pick(row));
    line.addEventListener("keydown", (event) => event.key === "Enter" && pick(row));
    return line;
  });
  part("results").replaceChildren(element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
  part("results-lead").textContent = sorted.length > body.length ? `The first ${body.length} of ${sorted.length}; the filters find the others.` : "";
}

const facts = (pairs) => pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, format.text(value))]);

function details(row) {
  part("picked").hidden = !row;
  if (!row) return;
  part("picked-name").textContent = row.file.name;
  part("picked-figures").replaceChildren(...facts([["network", `${network(row)}, ${precision(row)}`], ...figures(row), ["path", row.file.path], ["sha256", row.file.sha256]]));
  part("picked-conditions").replaceChildren(...facts(Object.entries(row.conditions)));
  const steps = row.file.lineage.map((step) => {
    const values = { ...step.parameters, ...step.metrics };
    const details = Object.entries(values).map(([key, value]) => `${key.replaceAll("_", " ")} ${typeof value === "object" ? JSON.stringify(value) : format.text(value)}`);
    if (known(step.seconds)) details.push(`${digits(step.seconds)} s`);
    if (step.parent) details.push(`from ${format.hash(step.parent)}`);
    return element("li", {}, step.what, " ", element("small", {}, details.join(", ")));
  });
  part("picked-lineage").replaceChildren(...(steps.length ? steps : [element("li", {}, "unknown: edgecnn did not make this file")]));
  part("picked-notes").replaceChildren(...row.notes.map((note) => element("li", {}, note)));
}

// Conditions that all rows share as a list, the others as a table.
function conditions(some) {
  const keys = [...new Set(some.flatMap((row) => Object.keys(row.conditions)))];
  const values = (key) => new Set(some.map((row) => row.conditions[key]));
  const same = keys.filter((key) => values(key).size === 1);
  const different = keys.filter((key) => values(key).size > 1);
  part("same-conditions").replaceChildren(...facts(same.map((key) => [key, some[0].conditions[key]])));
  const head = ["file", "measured", ...different].map((name) => element("th", { scope: "col", className: "text" }, name));
  const body = some.slice(0, MOST_ROWS).map((row) => {
    const cells = [row.file.name, format.time(row.time), ...different.map((key) => (known(row.conditions[key]) ? format.text(row.conditions[key]) : "–"))];
    return element("tr", {}, ...cells.map((text) => element("td", { className: "text" }, text)));
  });
  part("different-conditions").replaceChildren(
    ...(different.length ? [element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body)] : []),
  );
}
