// Drawings of cells. They are SVG made by the package, parsed as XML: no script in them can run.
function render({ model, el }) {
  el.classList.add("nl-cells");
  function edges(svg) {
    for (const edge of svg.querySelectorAll("[data-edge]")) {
      const number = Number(edge.dataset.edge);
      edge.setAttribute("tabindex", "0");
      edge.setAttribute("role", "button");
      edge.setAttribute("aria-pressed", String(number === model.get("edge")));
      const press = () => model.send({ kind: "edge", edge: number });
      edge.addEventListener("click", press);
      edge.addEventListener("keydown", (event) => {
        const turn = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (turn) model.send({ kind: "turn", edge: number, by: turn });
        else if (["Enter", " "].includes(event.key)) press();
        else return;
        event.preventDefault();
        event.stopPropagation();
      });
    }
  }
  function tile(cell) {
    const figure = document.createElement("figure");
    const svg = new DOMParser().parseFromString(cell.svg, "image/svg+xml").documentElement;
    const caption = document.createElement("figcaption");
    caption.textContent = cell.caption;
    figure.append(document.adoptNode(svg), caption);
    if (model.get("editable")) edges(svg);
    return figure;
  }
  function draw() {
    const focused = el.contains(document.activeElement) ? document.activeElement.dataset?.edge : undefined;
    el.replaceChildren(...model.get("cells").map(tile));
    if (focused !== undefined) el.querySelector(`[data-edge="${Number(focused)}"]`)?.focus();
  }
  model.on("change:cells change:edge", draw);
  draw();
  return () => model.off("change:cells change:edge", draw);
}

export default { render };
