"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const settings = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };

  // Colours such as var(--ink) are the page's: plotly wants them as numbers.
  function resolved(value) {
    if (Array.isArray(value)) return value.map(resolved);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, resolved(inner)]));
    }
    const found = typeof value === "string" && /^var\((--[a-z]+)\)$/.exec(value);
    return found ? getComputedStyle(document.documentElement).getPropertyValue(found[1]).trim() : value;
  }

  function themed(layout) {
    const axis = { gridcolor: "var(--line)", zerolinecolor: "var(--line)", linecolor: "var(--line)" };
    return resolved({
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: "var(--ink)", family: "system-ui, sans-serif", size: 13 },
      hoverlabel: { bgcolor: "var(--paper)", bordercolor: "var(--muted)", font: { color: "var(--ink)" }, align: "left" },
      margin: { l: 60, r: 20, t: 20, b: 50 },
      ...layout,
      xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
    });
  }

  function draw(figure) {
    const data = figure.points.rows ? landscape(figure) : figure.data;
    const chosen = (figure.choices[figure.chosen] || {}).x;
    const traces = data.map((trace, i) => (chosen ? { ...trace, x: chosen[i] } : trace));
    const layout = { ...figure.layout, ...(figure.shown || {}) };
    return Plotly.react(figure.id, resolved(traces), themed(layout), settings);
  }

  function select(figure, name, options, change) {
    const label = document.createElement("label");
    const list = document.createElement("select");
    for (const option of options) list.add(new Option(option, option));
    list.addEventListener("change", () => { change(list.value); draw(figure); });
    label.append(`${name} `, list);
    document.getElementById(`${figure.id}-choices`).append(label);
  }

  // The best of the chosen swaps for each (b, u); rows are [b, u, t_b, t_u, pair, score, label].
  const COLUMNS = { pair: 4, t_b: 2, t_u: 3 };
  function landscape(figure) {
    const { rows, more, best, people, scale } = figure.points;
    const cells = new Map();
    for (const row of rows) {
      if (Object.entries(figure.filter).some(([name, value]) => String(row[COLUMNS[name]]) !== value)) continue;
      const name = `${row[0]},${row[1]}`, known = cells.get(name);
      if (!known || (more ? row[5] > known[5] : row[5] < known[5])) cells.set(name, row);
    }
    const axis = (place) => Array.from({ length: Math.max(...rows.map((row) => row[place])) + 1 }, (_, i) => i);
    const x = axis(0), y = axis(1);
    const grid = (value, none = null) => y.map((u) => x.map((b) => { const row = cells.get(`${b},${u}`); return row ? value(row) : none; }));
    const values = rows.map((row) => row[5]);
    figure.shown = { shapes: best ? [{
      type: "rect", x0: best[0] - 0.48, x1: best[0] + 0.48, y0: best[1] - 0.48, y1: best[1] + 0.48,
      line: { color: "#D55E00", width: 4 },
    }] : [] };
    return [{
      type: "heatmap", x, y, z: grid((row) => row[5]), hovertext: grid((row) => `${row[6]}<br>${row[5]}%`),
      hoverinfo: "text", hoverongaps: false, colorscale: scale, xgap: 2, ygap: 2,
      zmin: Math.min(...values), zmax: Math.max(...values),
      ...(x.length * y.length <= 200 ? { text: grid((row) => row[5].toFixed(1), ""), texttemplate: "%{text}" } : {}),
      colorbar: { title: { text: `${people} %` }, thickness: 12 },
    }];
  }

  for (const figure of figures) {
    const names = Object.keys(figure.choices);
    figure.chosen = names[0];
    if (names.length > 1) select(figure, "shown", names, (value) => { figure.chosen = value; });
    if (figure.points.rows) {
      figure.filter = {};
      for (const [name, column] of Object.entries(COLUMNS)) {
        const known = [...new Set(figure.points.rows.map((row) => row[column]))];
        known.sort((a, b) => (typeof a === "number" ? a - b : a < b ? -1 : 1));
        select(figure, name, ["all", ...known], (value) => {
          if (value === "all") delete figure.filter[name]; else figure.filter[name] = value;
        });
      }
    }
  }

  // One after another, so that the page can be read meanwhile.
  async function drawAll() {
    for (const figure of figures) {
      await draw(figure);
      await new Promise((next) => setTimeout(next, 0));
    }
    document.documentElement.dataset.drawn = String(figures.length);
  }
  dark.addEventListener("change", drawAll);

  // Paper is light, whatever the screen is.
  for (const [event, printed] of [["beforeprint", true], ["afterprint", false]]) {
    window.addEventListener(event, () => {
      document.documentElement.classList.toggle("printed", printed);
      figures.forEach(draw);
    });
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    table.querySelectorAll("thead button").forEach((button, column) => {
      button.addEventListener("click", () => {
        const head = button.parentElement, down = head.getAttribute("aria-sort") !== "descending";
        table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const by = (row) => { const cell = row.cells[column]; return cell.dataset.by === undefined ? cell.textContent : Number(cell.dataset.by); };
        const rows = [...body.rows].sort((a, b) => { const one = by(a), two = by(b); return one < two ? -1 : one > two ? 1 : 0; });
        body.append(...(down ? rows.reverse() : rows));
      });
    });
  }

  drawAll();
})();
