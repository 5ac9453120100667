// Operations in groups: drag one to another group, or move it by arrow keys.
function render({ model, el }) {
  el.classList.add("nl-groups");
  const spoken = document.createElement("div");
  spoken.className = "nl-spoken";
  spoken.setAttribute("aria-live", "polite");
  const row = document.createElement("div");
  row.className = "nl-groups-row";
  el.append(row, spoken);

  function move(name, to, focus) {
    const groups = model.get("groups").map((group) => group.filter((other) => other !== name));
    if (to < 0 || to > groups.length) return;
    if (to === groups.length) groups.push([]);
    groups[to].push(name);
    const kept = groups.filter((group) => group.length);
    model.set("groups", kept);
    model.save_changes();
    spoken.textContent = `${name} in group ${kept.findIndex((group) => group.includes(name)) + 1}`;
    if (focus) row.querySelector(`[data-operation="${CSS.escape(name)}"]`)?.focus();
  }
  function chip(name, at) {
    const button = document.createElement("button");
    button.className = "nl-chip";
    button.type = "button";
    button.draggable = true;
    button.dataset.operation = name;
    button.textContent = model.get("labels")[name] ?? name;
    button.setAttribute("aria-label", `${button.textContent}, group ${at + 1}; arrow keys move it`);
    button.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/plain", name));
    button.addEventListener("click", () => {
      const last = at === model.get("groups").length - 1;
      move(name, last ? 0 : at + 1, true);
    });
    button.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      move(name, at + by, true);
    });
    return button;
  }
  function column(names, at, title) {
    const box = document.createElement("div");
    box.className = names.length ? "nl-group" : "nl-group nl-empty";
    box.dataset.group = String(at);
    const head = document.createElement("div");
    head.className = "nl-group-title";
    head.textContent = title;
    box.append(head, ...names.map((name) => chip(name, at)));
    box.addEventListener("dragover", (event) => { event.preventDefault(); box.classList.add("nl-over"); });
    box.addEventListener("dragleave", () => box.classList.remove("nl-over"));
    box.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      const name = event.dataTransfer.getData("text/plain");
      if (model.get("groups").flat().includes(name)) move(name, at, true);
      else draw();
    });
    return box;
  }
  function draw() {
    const focused = row.contains(document.activeElement) ? document.activeElement.dataset.operation : null;
    const groups = model.get("groups");
    row.replaceChildren(...groups.map((names, at) => column(names, at, `group ${at + 1}`)),
      ...(groups.length ? [column([], groups.length, "new group")] : []));
    if (focused) row.querySelector(`[data-operation="${CSS.escape(focused)}"]`)?.focus();
  }
  model.on("change:groups change:labels", draw);
  draw();
  return () => model.off("change:groups change:labels", draw);
}

export default { render };
