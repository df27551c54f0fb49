(() => {
  "use strict";
  const root = document.documentElement;
  const store = JSON.parse(document.getElementById("data").textContent);
  const darkMedia = matchMedia("(prefers-color-scheme: dark)");
  const remembered = () => { try { return localStorage.getItem("interp-theme"); } catch { return null; } };
  const remember = (name) => { try { localStorage.setItem("interp-theme", name); } catch { /* a file: page may have no storage */ } };
  const theme = () => root.dataset.theme || (darkMedia.matches ? "dark" : "light");

  /* Colours are written as roles; see interp_registry.plots.interactive. */
  const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const rgba = (hex, opacity) => `rgba(${channels(hex).join(",")},${opacity})`;
  const inkOn = (stops, share) => {
    const position = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
    const index = Math.min(Math.floor(position), stops.length - 2);
    const [first, second] = [channels(stops[index][1]), channels(stops[index + 1][1])];
    const [red, green, blue] = first.map((value, i) => (value + (second[i] - value) * (position - index)) / 255)
      .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.19 ? "#10151c" : "#ffffff";
  };
  const role = (text, colours) => {
    const [name, opacity] = text.slice(1).split("~");
    if (name.startsWith("on-")) return inkOn(colours[name.slice(3)], Number(opacity));
    const series = /^series(\d+)$/.exec(name);
    const colour = series ? colours.series[Number(series[1]) % colours.series.length] : colours[name];
    return opacity ? rgba(colour, opacity) : colour;
  };
  const themed = (value, colours, isColour) => {
    if (Array.isArray(value)) return value.map((item) => themed(item, colours, isColour));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, themed(item, colours, key.includes("color"))]));
    }
    return isColour && typeof value === "string" && value.startsWith("@") ? role(value, colours) : value;
  };

  const shorten = (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text);
  const narrowed = (spec, width) => {
    if (width > 480) return spec;
    const layout = { ...spec.layout, font: { ...spec.layout.font, size: 11 }, margin: { l: 40, r: 8, t: 14, b: 40 } };
    for (const name of ["xaxis", "yaxis"]) {
      const axis = layout[name];
      if (!axis || !axis.ticktext) continue;
      const step = axis.ticktext.length > 14 && axis.ticktext.every((text) => text.length < 4) ? Math.ceil(axis.ticktext.length / 10) : 1;
      const keep = (values) => values.filter((_, i) => i % step === 0);
      layout[name] = { ...axis, tickvals: keep(axis.tickvals), ticktext: keep(axis.ticktext).map((text) => shorten(text, 16)) };
    }
    const columns = spec.data[0] && spec.data[0].z && spec.data[0].z.length ? spec.data[0].z[0].length : 0;
    const data = spec.data.map((trace) => {
      if (trace.mode === "text") return columns > 8 ? { ...trace, visible: false } : { ...trace, textfont: { ...trace.textfont, size: 10 } };
      if (trace.type !== "heatmap") return trace.mode === "markers+text" && spec.data.length + trace.x.length > 14 ? { ...trace, mode: "markers" } : trace;
      const bar = { ...trace.colorbar, orientation: "h", y: 1.02, yanchor: "bottom", thickness: 8, len: 1, title: { ...trace.colorbar.title, side: "top" } };
      return { ...trace, colorbar: bar };
    });
    if (data.some((trace) => trace.type === "heatmap")) layout.margin = { ...layout.margin, t: 4 };
    return { data, layout };
  };

  const options = {
    responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg" },
  };
  const plots = [...document.querySelectorAll("[data-figure]")];
  const draw = (element) => {
    const spec = narrowed(store.figures[element.dataset.figure], element.clientWidth);
    const { data, layout } = themed(spec, store.themes[theme()], false);
    layout.font = { ...layout.font, family: getComputedStyle(document.body).fontFamily };
    layout.modebar = { bgcolor: "rgba(0,0,0,0)" };
    return Plotly.react(element, data, layout, options).catch((error) => fail(element, error));
  };
  const fail = (element, error) => {
    const note = document.createElement("p");
    note.className = "failed-plot";
    note.textContent = `This plot could not be drawn: ${error.message}`;
    element.replaceChildren(note);
    console.error(error);
  };
  /* The plot library stands in the page as gzip in base64, which makes the page less than half as large. */
  const loadLibrary = async () => {
    const packed = document.getElementById("library");
    if (!packed) return;
    const bytes = Uint8Array.from(atob(packed.textContent), (character) => character.charCodeAt(0));
    const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(inflated).text();
    document.head.append(script);
    packed.remove();
  };
  const library = loadLibrary();
  /* One plot at a time, so that the page answers while many are drawn. */
  const drawAll = async () => {
    root.dataset.plots = "drawing";
    for (const element of plots) {
      try { await library; await draw(element); } catch (error) { fail(element, error); }
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    root.dataset.plots = "ready";
  };

  const setTheme = (name) => { root.dataset.theme = name; drawAll(); };
  document.getElementById("theme").addEventListener("click", () => {
    const name = theme() === "dark" ? "light" : "dark";
    remember(name);
    setTheme(name);
  });
  darkMedia.addEventListener("change", () => { if (!root.dataset.theme) drawAll(); });
  if (remembered() === "light" || remembered() === "dark") root.dataset.theme = remembered();

  /* Tables: sort by a column, filter rows. */
  const key = (row, column) => {
    const cell = row.cells[column];
    const number = cell.dataset.v === undefined || cell.dataset.v === "" ? NaN : Number(cell.dataset.v);
    return { number, text: cell.textContent, empty: cell.classList.contains("none") || cell.dataset.v === "" };
  };
  const compare = (a, b) => {
    if (!Number.isNaN(a.number) && !Number.isNaN(b.number)) return a.number - b.number;
    return a.text.localeCompare(b.text, undefined, { numeric: true });
  };
  for (const table of document.querySelectorAll("table.data")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const first = head.classList.contains("num") ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: key(row, column) }));
      rows.sort((a, b) => a.key.empty - b.key.empty || sign * compare(a.key, b.key));
      table.tBodies[0].append(...rows.map((each) => each.row));
    }));
  }
  for (const input of document.querySelectorAll("input.filter")) {
    const rows = [...input.parentElement.querySelector("table.data").tBodies[0].rows];
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    });
  }

  /* Marked text: the candidates of the token that is pointed at. */
  const tip = document.getElementById("tip");
  const showTip = (token) => {
    const [text, value, top] = store.figures[token.closest("[data-tokens]").dataset.tokens].tokens[Number(token.dataset.i)];
    const head = document.createElement("b");
    head.textContent = `${JSON.stringify(text)}  ${value}`;
    const table = document.createElement("table");
    for (const [candidate, weight] of top) {
      const row = table.insertRow();
      row.insertCell().textContent = JSON.stringify(candidate);
      row.insertCell().textContent = weight;
    }
    tip.replaceChildren(head, table);
    tip.hidden = false;
    const box = token.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left), innerWidth - tip.offsetWidth - 8);
    const below = box.bottom + 8 + tip.offsetHeight < innerHeight;
    tip.style.left = `${left}px`;
    tip.style.top = `${below ? box.bottom + 8 : box.top - tip.offsetHeight - 8}px`;
  };
  for (const kind of ["mouseover", "focusin"]) {
    document.addEventListener(kind, (event) => {
      const token = event.target.closest ? event.target.closest(".token") : null;
      if (token) showTip(token); else tip.hidden = true;
    });
  }

  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      try { await navigator.clipboard.writeText(code.textContent); button.textContent = "Copied"; }
      catch { getSelection().selectAllChildren(code); button.textContent = "Selected"; }
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
  }

  /* The contents follow the reader; on narrow pages they begin folded. */
  const contents = document.querySelector(".contents details");
  if (innerWidth < 1120) contents.open = false;
  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.getAttribute("href").slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const link = links.get(entry.target.id);
      if (link) link.classList.toggle("here", entry.isIntersecting);
    }
  }, { rootMargin: "-60px 0px -40% 0px" });
  document.querySelectorAll(".card[id], .provenance[id]").forEach((element) => watcher.observe(element));

  drawAll();
})();
