// Paints an explorer: a background, over it the shapes that `recorder.py` wrote, and
// beneath both the caption in words. In a notebook the kernel sends each state; on a
// page without a kernel they were recorded, and the same `mount` shows them.

const SVG = "http://www.w3.org/2000/svg";
const PARTS = 10; // of a picture's pixel, in which shapes are written
// On a slow line a frame takes about 200 ms; with a faster clock, frames would queue up.
const PLAY_MS = 400;
const STYLE = `
.explorer-picture { position: relative; width: fit-content; max-width: 100%;
  border-radius: 6px; overflow: hidden; background: #fff }
.explorer-picture > img { display: block; height: auto; max-width: 100%; margin: 0 }
.explorer-picture > svg { position: absolute; inset: 0; width: 100%; height: 100%;
  fill: none; stroke-linejoin: round; stroke-linecap: butt; pointer-events: none }
.explorer-hold { position: absolute; touch-action: none; cursor: crosshair }
.explorer-caption { width: 98%; line-height: 1.4; margin: 0.4em 0 }
.explorer-error { line-height: 1.4; border-left: 0.3em solid #b35900;
  padding-left: 0.6em }
.jupyter-widgets-disconnected .explorer-hold { display: none }`;

// A unique suffix: each explorer of a page has its own copy of this module.
const unlike = () => Math.random().toString(36).slice(2);

/**
 * Put an explorer's picture and caption into an element.
 *
 * `size` is the picture's width and height in CSS pixels, `sharpness` how many of its
 * own pixels make one of those. `axes` are the parts of it that take the pointer, each
 * { box: [left, top, width, height] in parts of the picture, title }; `onDrag` is called
 * with { press, x, y }: which press it is, and where the pointer is, in parts of the
 * picture. `alt` says what the picture shows, `room` is how high the caption is.
 *
 * Returns { show, element }. `show` takes a state: { background: an address, shapes,
 * words, error }. What a state leaves out stays as it was.
 */
export function mount(element, options, onDrag = () => {}) {
  const { size, sharpness = 1.5, axes = [], alt, room = "2.8em" } = options;
  const name = `explorer-${unlike()}-clip-`; // of clipping paths, in a whole page
  const make = (tag, attributes = {}, parent = element) =>
    parent.appendChild(Object.assign(document.createElement(tag), attributes));

  make("style", { textContent: STYLE });
  const picture = make("div", { className: "explorer-picture" });
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", alt);
  const background = make("img", { alt: "" }, picture);
  background.style.cssText = `width: ${size[0]}px; aspect-ratio: ${size.join(" / ")}`;
  const svg = picture.appendChild(document.createElementNS(SVG, "svg"));
  const parts = size.map((side) => Math.round(side * sharpness * PARTS));
  svg.setAttribute("viewBox", `0 0 ${parts.join(" ")}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true"); // the words are the picture's
  const clips = svg.appendChild(document.createElementNS(SVG, "defs"));
  const layer = svg.appendChild(document.createElementNS(SVG, "g"));
  const caption = make("div", { className: "explorer-caption" });
  caption.setAttribute("role", "status");
  caption.setAttribute("aria-live", "polite");
  caption.style.minHeight = room;
  const below = make("div");
  below.style.minHeight = "1.6em";
  for (const each of axes) holdable(picture, each, onDrag);

  const clipNames = new Map();
  const clipped = (paths) => {
    if (!clipNames.has(paths)) {
      const [path, ...others] = paths.split("|");
      clipNames.set(paths, name + clipNames.size);
      const clip = clips.appendChild(document.createElementNS(SVG, "clipPath"));
      clip.id = clipNames.get(paths);
      clip.appendChild(document.createElementNS(SVG, "path")).setAttribute("d", path);
      if (others.length) clip.setAttribute("clip-path", clipped(others.join("|")));
    }
    return `url(#${clipNames.get(paths)})`;
  };

  const paint = ({ background: address, shapes, words, error }) => {
    if (address !== undefined && background.src !== address) background.src = address;
    if (shapes !== undefined) replace(layer, shapes.flatMap(spread), clipped);
    if (words !== undefined && caption.textContent !== words) caption.textContent = words;
    if (error !== undefined) {
      const alert = below.firstChild;
      if (!error && alert) alert.remove();
      else if (error && alert) alert.textContent = error;
      else if (error) {
        const line = make("div", { className: "explorer-error" }, below);
        line.setAttribute("role", "alert");
        line.textContent = error;
      }
    }
  };

  let latest = 0;
  const show = async (state) => {
    const turn = ++latest;
    const images = (state.shapes ?? []).map((shape) => shape.href).filter(Boolean);
    if (state.background && state.background !== background.src)
      images.push(state.background);
    // All at once: what is not decoded yet would be blank for a frame.
    if (images.length) await Promise.all(images.map(decoded));
    if (turn === latest) paint(state);
  };
  return { show, element };
}

async function decoded(address) {
  const image = new Image();
  image.src = address;
  await image.decode().catch(() => {});
}

/** Return the elements of a shape: one, or one for each of its marks. */
function spread(shape) {
  const { at, r, ...look } = shape;
  if (at === undefined) return [look];
  const steps = numbers(at);
  const radii = r === undefined ? [] : numbers(String(r));
  const colors = (name, i) => {
    const all = look[name];
    return all && all.length > 7 ? all.slice(7 * i, 7 * i + 7) : all;
  };
  const marks = [];
  let [x, y] = [0, 0];
  for (let i = 0; 2 * i < steps.length; i++) {
    x += steps[2 * i];
    y += steps[2 * i + 1];
    const outline = look.d ?? circle(radii[radii.length > 1 ? i : 0]);
    const mark = { ...look, d: `M${x} ${y}${outline}` };
    for (const name of ["fill", "stroke"])
      if (look[name]) mark[name] = colors(name, i);
    marks.push(mark);
  }
  return marks;
}

const numbers = (text) => (text.match(/-?\d+/g) ?? []).map(Number);

const circle = (r) =>
  `m${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;

/** Change a layer's elements into those wanted; what is the same is not touched. */
function replace(layer, wanted, clipped) {
  wanted.forEach((look, i) => {
    const tag = look.href ? "image" : "path";
    let element = layer.children[i];
    if (element?.tagName !== tag) {
      const fresh = document.createElementNS(SVG, tag);
      if (element) element.replaceWith(fresh);
      else layer.appendChild(fresh);
      element = fresh;
      if (tag === "image") element.setAttribute("preserveAspectRatio", "none");
    }
    const { clip, ...attributes } = look;
    if (clip) attributes["clip-path"] = clipped(clip);
    const before = element.attributesShown ?? {};
    for (const name in before) if (!(name in attributes)) element.removeAttribute(name);
    for (const name in attributes)
      if (before[name] !== attributes[name])
        element.setAttribute(name, attributes[name]);
    element.attributesShown = attributes;
  });
  while (layer.children.length > wanted.length) layer.lastChild.remove();
}

/** Let the pointer take hold of one part of the picture, and only of that. */
function holdable(picture, { box, title = "" }, onDrag) {
  const hold = picture.appendChild(document.createElement("div"));
  hold.className = "explorer-hold";
  hold.title = title;
  const sides = ["left", "top", "width", "height"];
  sides.forEach((side, i) => (hold.style[side] = `${100 * box[i]}%`));
  let press = null;
  const tell = (event) => {
    const whole = picture.getBoundingClientRect();
    const x = (event.clientX - whole.left) / whole.width;
    const y = (event.clientY - whole.top) / whole.height;
    onDrag({ press, x, y });
  };
  hold.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    press = unlike();
    hold.setPointerCapture(event.pointerId);
    event.preventDefault();
    tell(event);
  });
  hold.addEventListener("pointermove", (event) => press !== null && tell(event));
  const release = () => (press = null);
  hold.addEventListener("pointerup", release);
  hold.addEventListener("pointercancel", release);
}

/** Return the address of bytes that a browser shows as a picture. */
function addressOf(bytes) {
  return URL.createObjectURL(new Blob([bytes], { type: "image/webp" }));
}

/** Return the state that the kernel packed. */
async function unpacked(bytes) {
  const inflate = new DecompressionStream("deflate");
  const writer = inflate.writable.getWriter();
  writer.write(bytes); // read below, so neither is awaited
  writer.close();
  const reader = inflate.readable.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return JSON.parse(text);
    text += decoder.decode(value, { stream: true });
  }
}

/** Return the models of other widgets, whose ids are in a list of this one's. */
function modelsIn(model, name) {
  const { widget_manager: manager } = model;
  return Promise.all(model.get(name).map((id) => manager.get_model(id)));
}

/** Move a slider to its end step by step while its button is pressed. */
async function initialize({ model }) {
  const [button, slider] = await modelsIn(model, "play");
  let clock = null;
  const step = () => {
    const next = slider.get("value") + slider.get("step");
    if (next <= slider.get("max")) {
      slider.set("value", next);
      slider.save_changes();
    } else {
      button.set("value", false);
      button.save_changes();
    }
  };
  button?.on("change:value", () => {
    clearInterval(clock);
    if (button.get("value")) clock = setInterval(step, PLAY_MS);
  });
  return () => clearInterval(clock);
}

// Whatever the kernel takes for the same value, this does too: see `_same` in widget.py.
function near(a, b) {
  if (typeof a !== "number" || typeof b !== "number") return a === b;
  return Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b)) + 1e-13;
}

/** Host it in a notebook: the kernel's states come in, the pointer's places go out. */
async function render({ model, el }) {
  const box = el.appendChild(document.createElement("div"));
  const view = mount(box, model.get("scene"), (place) => {
    model.set("pointer", place);
    model.save_changes(); // one at a time: places in between are passed over
  });
  const controls = await modelsIn(model, "controls");
  const placeOf = (control) => control.get("index") ?? control.get("value") ?? null;
  const fits = ({ at }) => at?.every((place, i) => near(place, placeOf(controls[i])));
  // Of two that fit, the one that the kernel shows was drawn later.
  const fitting = () => {
    const names = ["first", "second"];
    if (model.get("shown") === "second") names.reverse();
    return names.map((name) => model.get(name)).find(fits);
  };
  let address = addressOf(model.get("background"));
  let latest = 0;
  let chosen = null;
  const show = async () => {
    const turn = ++latest;
    const state = { background: address, error: model.get("error") };
    Object.assign(state, await unpacked(chosen.state));
    if (turn === latest) await view.show(state);
  };
  // The state that fits the controls is shown, even before the kernel has heard of them.
  // While none fits, the newest that the kernel was asked for is shown.
  const choose = (otherwise) => {
    const before = chosen;
    chosen = fitting() ?? otherwise;
    if (chosen !== before) show();
  };
  const arrive = (name) => choose(name === model.get("shown") ? model.get(name) : chosen);
  const renew = async () => {
    const old = address;
    address = addressOf(model.get("background"));
    await show();
    URL.revokeObjectURL(old);
  };
  // Arrows in a list or slider are its own, and not the notebook's to change the cell.
  const keep = ({ target }) => (target.dataset.lmSuppressShortcuts = "true");
  new ResizeObserver((_, observer) => {
    const live = el.closest(".explorer-live");
    live?.addEventListener("focusin", keep);
    if (live) observer.disconnect();
  }).observe(box);
  const changes = {
    "change:background": renew,
    "change:first": () => arrive("first"),
    "change:second": () => arrive("second"),
    "change:error": show,
  };
  for (const [name, change] of Object.entries(changes)) model.on(name, change);
  const follow = () => choose(chosen);
  for (const control of controls) control.on("change:value change:index", follow);
  choose(model.get(model.get("shown")));
  return () => {
    for (const [name, change] of Object.entries(changes)) model.off(name, change);
    for (const control of controls) control.off("change:value change:index", follow);
    URL.revokeObjectURL(address);
  };
}

export default { initialize, render };
