// One plotly figure. The library comes from a model that all figures of the kernel share, and is
// set up once for the page.
const SHARED = (globalThis[Symbol.for("naslid_toolkit.plotly")] ??= new Map());
const INK = /#2a3f5f/gi; // the ink of figures on white paper, replaced by the theme's

async function library(model) {
  const shared = await model.widget_manager.get_model(model.get("library").slice("IPY_MODEL_".length));
  const version = shared.get("version");
  if (!SHARED.has(version)) {
    const loading = load(shared.get("code"));
    SHARED.set(version, loading);
    loading.catch(() => SHARED.delete(version));
  }
  return SHARED.get(version);
}

async function load(packed) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const code = await new Response(stream).text();
  const page = globalThis.Plotly; // another library's, to be left as it was
  const wrapped = `const module = { exports: {} }; const define = undefined;\n${code}\nexport default module.exports;`;
  const url = URL.createObjectURL(new Blob([wrapped], { type: "text/javascript" }));
  try {
    return (await import(/* @vite-ignore */ url)).default;
  } finally {
    URL.revokeObjectURL(url);
    if (page === undefined) delete globalThis.Plotly;
    else globalThis.Plotly = page;
  }
}

let webgl = null; // whether this browser has it; asked once, a context is dear
function drawable(trace) {
  if (trace.type !== "scattergl") return trace;
  webgl ??= document.createElement("canvas").getContext("webgl") !== null;
  return webgl ? trace : { ...trace, type: "scatter" };
}

function themed(texts, box) {
  const style = getComputedStyle(box);
  const colour = (name, other) => style.getPropertyValue(name).trim() || other;
  const ink = colour("--jp-ui-font-color1", "#222");
  const line = colour("--jp-border-color2", "#ddd");
  const paper = colour("--jp-layout-color1", "white");
  const [{ data: whole, layout }, patch] = texts.map((text) => JSON.parse(text.replace(INK, ink)));
  const data = whole.map((trace, i) => drawable(patch[i] ?? trace));
  layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
  layout.font = { ...layout.font, color: ink };
  layout.hoverlabel = { bgcolor: paper, bordercolor: line, font: { color: ink }, ...layout.hoverlabel };
  layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: ink };
  for (const [name, axis] of Object.entries(layout))
    if (/^[xy]axis\d*$/.test(name))
      layout[name] = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, ...axis };
  layout.autosize = true;
  return { data, layout };
}

const CONFIG = {
  displaylogo: false,
  modeBarButtonsToRemove: ["lasso2d", "autoScale2d", "sendDataToCloud"],
  scrollZoom: false,
};

function render({ model, el }) {
  const box = document.createElement("div");
  const note = document.createElement("div");
  box.className = "nl-figure-box";
  box.setAttribute("role", "figure"); // not "img": it holds buttons
  note.className = "nl-note";
  note.textContent = "drawing …";
  el.classList.add("nl-figure-host");
  el.append(note, box);
  let Plotly = null, closed = false, drawn = 0, heard = false;

  function listen() {
    heard = true;
    box.on("plotly_selected", (event) => {
      const range = event?.range ?? null;
      model.send({ kind: "select", range });
    });
    box.on("plotly_deselect", () => model.send({ kind: "select", range: null }));
    box.on("plotly_click", (event) => {
      const point = event.points[0];
      model.send({ kind: "click", curve: point.curveNumber, point: point.pointIndex ?? null });
    });
  }
  async function draw() {
    if (closed || !Plotly) return;
    const texts = [model.get("figure"), model.get("patch")]; // as JSON text
    if (texts[0] === "{}") return;
    const began = performance.now();
    const { data, layout } = themed(texts, box);
    box.style.height = `${layout.height ?? 420}px`;
    box.setAttribute("aria-label", model.get("description"));
    await Plotly.react(box, data, layout, CONFIG);
    if (!heard) listen();
    note.remove();
    box.dataset.milliseconds = (performance.now() - began).toFixed(1);
    box.dataset.drawn = String(++drawn);
  }
  const failed = (error) => {
    note.textContent = `The figure cannot be drawn: ${error.message ?? error}`;
    note.setAttribute("role", "alert");
    if (!note.isConnected) el.prepend(note);
  };
  const redraw = () => draw().catch(failed);

  const theme = new MutationObserver(redraw);
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });
  let width = 0;
  const size = new ResizeObserver(() => {
    if (box.clientWidth === width || !box.clientWidth || !drawn) return;
    width = box.clientWidth;
    Plotly.Plots.resize(box);
  });
  size.observe(box);
  model.on("change:figure change:patch", redraw);
  library(model).then((loaded) => { Plotly = loaded; redraw(); }, failed);
  return () => {
    closed = true;
    model.off("change:figure change:patch", redraw);
    theme.disconnect();
    size.disconnect();
    Plotly?.purge(box);
  };
}

export default { render };
