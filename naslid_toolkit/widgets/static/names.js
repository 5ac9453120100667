// Names for controls that ipywidgets leaves without: handles of sliders, buttons of a player.
const TURNS = "play or pause"; // the sign changes without a word to anybody
const BUTTONS = { "fa-play": TURNS, "fa-pause": TURNS, "fa-stop": "stop", "fa-retweet": "repeat" };

function name(dashboard) {
  for (const handle of dashboard.querySelectorAll(".noUi-handle:not([aria-label])")) {
    const slider = handle.closest(".widget-slider");
    const label = slider?.querySelector(".widget-label")?.textContent ?? "";
    const ends = slider?.querySelectorAll(".noUi-handle").length > 1 ? ["from", "to"] : [""];
    handle.setAttribute("aria-label", `${label} ${ends[Number(handle.dataset.handle)] ?? ""}`.trim());
  }
  for (const icon of dashboard.querySelectorAll(".widget-play button i")) {
    const word = Object.entries(BUTTONS).find(([sign]) => icon.classList.contains(sign))?.[1];
    if (word && icon.parentElement.title !== word) icon.parentElement.title = word;
  }
}

function render({ el }) {
  el.style.display = "none";
  let watch = null, frame = requestAnimationFrame(begin);
  function begin() {
    const dashboard = el.closest(".nl-dashboard");
    if (!dashboard) return void (frame = requestAnimationFrame(begin)); // not on the page yet
    watch = new MutationObserver(() => name(dashboard));
    watch.observe(dashboard, { childList: true, subtree: true });
    name(dashboard);
  }
  return () => {
    cancelAnimationFrame(frame);
    watch?.disconnect();
  };
}

export default { render };
