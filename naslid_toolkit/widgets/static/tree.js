// A split tree: SVG with the ARIA roles and keys of a tree. Every text is set as text.
const NS = "http://www.w3.org/2000/svg";
const WIDE = 168, HIGH = 62, GAP = 44, HALF = 78, EDGE = 26, LEAST = 0.7;

function make(name, attributes = {}, text = null) {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== null) node.textContent = text;
  return node;
}

function arrange(nodes, collapsed) {
  const below = new Map(nodes.map((node) => [node.id, []]));
  for (const node of nodes) if (node.parent) below.get(node.parent)?.push(node);
  const shown = [], place = new Map();
  let leaves = 0;
  const walk = (node, level) => {
    const children = collapsed.has(node.id) ? [] : below.get(node.id);
    shown.push({ ...node, level, children: below.get(node.id).map((child) => child.id) });
    for (const child of children) walk(child, level + 1);
    const across = children.map((child) => place.get(child.id).across);
    place.set(node.id, {
      across: across.length ? across.reduce((a, b) => a + b) / across.length : leaves++,
      level,
    });
  };
  for (const node of nodes) if (!node.parent) walk(node, 0);
  return { shown, place, leaves };
}

function render({ model, el }) {
  el.classList.add("nl-tree");
  const svg = make("svg", { role: "tree" });
  const spoken = document.createElement("div");
  spoken.className = "nl-spoken";
  spoken.setAttribute("aria-live", "polite");
  el.append(svg, spoken);
  let now = { shown: [], place: new Map() };

  const element = (id) => svg.querySelector(`[data-id="${CSS.escape(id)}"]`);
  function select(id, focus) {
    model.set("selected", id);
    model.save_changes();
    if (focus) element(id)?.focus();
  }
  function toggle(id) {
    const collapsed = new Set(model.get("collapsed"));
    if (!collapsed.delete(id)) collapsed.add(id);
    model.set("collapsed", [...collapsed]);
    model.save_changes();
  }
  function draw() {
    const focused = svg.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    const collapsed = new Set(model.get("collapsed"));
    const selected = model.get("selected");
    now = arrange(model.get("nodes"), collapsed);
    const levels = 1 + Math.max(0, ...now.shown.map((node) => node.level));
    const width = Math.max(1, now.leaves) * WIDE + 8, height = levels * (HIGH + GAP) - GAP + 12;
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("aria-label", model.get("description"));
    svg.style.maxWidth = `${width}px`; // shrinks with the page, but stays legible
    svg.style.minWidth = `${width * LEAST}px`;
    const centre = (id) => {
      const { across, level } = now.place.get(id);
      return [4 + across * WIDE + WIDE / 2, 6 + level * (HIGH + GAP) + HIGH / 2];
    };
    const ids = now.shown.map((node) => node.id);
    const entry = ids.includes(selected) ? selected : ids[0];
    const links = make("g", { "aria-hidden": "true" }), boxes = make("g", { role: "presentation" });
    for (const node of now.shown) {
      const [x, y] = centre(node.id);
      if (node.parent) {
        const [px, py] = centre(node.parent), top = py + EDGE, end = y - EDGE, middle = (top + end) / 2;
        links.append(make("path", { class: "nl-link", d: `M${px},${top}C${px},${middle} ${x},${middle} ${x},${end}` }));
        node.branch.forEach((line, i) =>
          links.append(make("text", { class: "nl-branch", x, y: end - 6 - 12 * (node.branch.length - 1 - i) }, line)));
      }
      boxes.append(box(node, x, y, { selected: node.id === selected, entry: node.id === entry, collapsed }));
    }
    svg.append(links, boxes);
    if (focused) element(focused)?.focus();
  }
  function box(node, x, y, { selected, entry, collapsed }) {
    const group = make("g", {
      class: `nl-node nl-${node.status}`, role: "treeitem", "data-id": node.id,
      "aria-level": node.level + 1, "aria-selected": String(selected),
      "aria-label": [...node.lines, node.note].filter(Boolean).join(", "),
      tabindex: entry ? "0" : "-1", transform: `translate(${x},${y})`,
    });
    if (node.children.length) group.setAttribute("aria-expanded", String(!collapsed.has(node.id)));
    group.append(make("rect", { x: -HALF, y: -EDGE, width: 2 * HALF, height: 2 * EDGE, rx: 6 }));
    node.lines.forEach((line, i) => group.append(make("text", { y: -12 + 15 * i, class: i ? "nl-minor" : "nl-major" }, line)));
    if (node.note) group.append(make("title", {}, node.note));
    if (node.mark) group.append(make("text", { class: "nl-mark", x: HALF - 9, y: -EDGE + 14 }, node.mark));
    if (collapsed.has(node.id)) group.append(make("text", { class: "nl-minor", y: EDGE + 13 }, `+ ${node.children.length}`));
    group.addEventListener("click", () => select(node.id, true));
    group.addEventListener("dblclick", () => node.children.length && toggle(node.id));
    return group;
  }
  function step(node, key) {
    const open = node.children.length && now.place.has(node.children[0]);
    const beside = now.shown.filter((other) => other.level === node.level)
      .sort((a, b) => now.place.get(a.id).across - now.place.get(b.id).across);
    const at = beside.findIndex((other) => other.id === node.id);
    if (key === "ArrowDown") return open ? node.children[0] : node.id;
    if (key === "ArrowUp") return node.parent || node.id;
    if (key === "ArrowRight") return beside[at + 1]?.id ?? node.id;
    if (key === "ArrowLeft") return beside[at - 1]?.id ?? node.id;
    if (key === "Home") return now.shown[0].id;
    if (key === "End") return now.shown.at(-1).id;
    return null;
  }
  svg.addEventListener("keydown", (event) => {
    const node = now.shown.find((other) => other.id === event.target.dataset?.id);
    if (!node) return;
    const to = step(node, event.key);
    if (to !== null) select(to, true);
    else if (["Enter", " "].includes(event.key)) node.children.length && toggle(node.id);
    else return;
    event.preventDefault();
    event.stopPropagation(); // the notebook's own keys stay out of it
  });
  const speak = () => {
    draw();
    const node = now.shown.find((other) => other.id === model.get("selected"));
    spoken.textContent = node ? `selected ${node.lines[0]}` : "";
  };
  model.on("change:nodes change:collapsed", draw);
  model.on("change:selected", speak);
  draw();
  return () => {
    model.off("change:nodes change:collapsed", draw);
    model.off("change:selected", speak);
  };
}

export default { render };
