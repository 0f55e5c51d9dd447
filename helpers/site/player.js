// Lets the explorers of a page move without a kernel: their states were recorded. The
// build puts view.js before this, whose `mount` shows them as in JupyterLab.

const NEAR = "800px"; // a pack is loaded when its explorer is this near to being seen
const REST_MS = 500; // words that change faster than this are not read out
const MARK = "\x01"; // as in pack.py
const LOOK = `
.explorer { margin: 1em 0 }
/* Until its controls are here, they have their room. */
.explorer:not([data-state]) { padding-top: calc(2em * var(--controls, 0) + 4.6em) }
.explorer > strong { display: block; margin-bottom: 0.3em }
.explorer-control { display: flex; flex-flow: row wrap; align-items: center;
  gap: 0 0.8em; width: min(42em, 100%); min-height: 2em }
.explorer-control > label { flex: 0 0 16em; margin: 0 }
.explorer-control > input[type="range"] { flex: 1 1 12em; min-width: 8em; margin: 0;
  accent-color: #0072b2; cursor: pointer }
.explorer-control > span { flex: 0 0 4.5em; font-variant-numeric: tabular-nums }
.explorer-control > select, .explorer-buttons > button { font: inherit; color: inherit;
  background: transparent; border: 1px solid currentColor; border-radius: 4px;
  padding: 0.1em 0.7em; min-height: 1.9em; cursor: pointer }
.explorer-control > select { margin: 0.15em 0 }
.explorer-control option { color: CanvasText; background: Canvas }
.explorer-buttons { display: flex; gap: 0.6em; margin: 0.3em 0 0.6em }
.explorer-buttons > button { min-width: 5em }
.explorer :is(input, select, button):focus-visible { outline: 3px solid #56b4e9;
  outline-offset: 2px }
.explorer-note { font-size: 0.85em; margin: 0.2em 0 0.6em }
.explorer img { padding: 0 !important; border-radius: 0 !important;
  filter: none !important; background: #fff !important }
/* A theme may put the outputs of a dark page on grey. */
.text_html:has(> :is(.explorer, .explorer-still)) { background: none !important;
  color: inherit !important; padding: 0 !important }
@media (pointer: coarse) {
  .explorer-control { min-height: 2.8em }
  .explorer-control > input[type="range"] { height: 2.4em }
  .explorer-control > select, .explorer-buttons > button { min-height: 2.6em }
}
@media print { .explorer-control, .explorer-buttons, .explorer-note { display: none } }`;

const script = document.currentScript;
const folder = new URL("packs/", script?.src || document.baseURI);
const arrivals = new Map(); // by a pack's name, what waits for its data
const packs = new Map(); // by a pack's name, the promise of it

/** What a pack's file calls: see pack.py. */
window.explorerPack = (name, data) => arrivals.get(name)?.(data);

/** Return the promise of a pack, which is loaded once. */
function packOf(name) {
  if (!packs.has(name)) {
    const arrival = new Promise((resolve, reject) => {
      arrivals.set(name, resolve);
      const file = document.createElement("script");
      file.src = new URL(`${name}.js`, folder);
      file.onerror = () => reject(new Error(`${name}.js could not be loaded`));
      document.head.append(file);
    });
    packs.set(
      name,
      arrival.then((data) => {
        arrivals.delete(name);
        return unpacked(Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)));
      }),
    );
  }
  return packs.get(name);
}

/** Return the state at one place of each control: as `state` in pack.py. */
function stateAt(pack, places) {
  const of = ({ on, of: texts, at }) => {
    let index = 0;
    for (const control of on)
      index = index * pack.controls[control].texts.length + places[control];
    return texts[at ? at[index] : index];
  };
  const text = ({ form, pieces }) => {
    const between = of(form).split(MARK);
    let whole = between[0];
    for (let i = 1; i < between.length; i++) whole += of(pieces[i - 1]) + between[i];
    return whole;
  };
  const { error, words, background, ...artists } = pack.texts;
  const failed = text(error);
  if (failed) return { error: failed };
  const shapes = Object.keys(artists)
    .sort((one, other) => one - other)
    .flatMap((each) => JSON.parse(text(artists[each])));
  return { error: "", words: text(words), background: pack.backgrounds[text(background)], shapes };
}

/** Return the place whose number in a list is nearest to one. */
function nearestTo(places, number) {
  let best = 0;
  places.forEach((place, i) => {
    if (Math.abs(place - number) < Math.abs(places[best] - number)) best = i;
  });
  return best;
}

let numElements = 0; // so that each control has an id of its own

/** Put a recorded explorer into an element that holds its picture and words. */
function play(element, pack) {
  const make = (tag, attributes = {}, parent = element) =>
    parent.appendChild(Object.assign(document.createElement(tag), attributes));
  const starts = pack.controls.map((control) => control.start);
  const places = [...starts];
  const setters = [];
  let clock = null;
  let shown = null;

  element.replaceChildren();
  element.setAttribute("role", "group");
  element.setAttribute("aria-label", pack.label);
  make("strong", { textContent: pack.label });

  const controlOf = (control, i) => {
    const row = make("div", { className: "explorer-control" });
    const id = `explorer-control-${++numElements}`;
    make("label", { textContent: control.label, htmlFor: id }, row);
    const moved = (place) => {
      stop();
      moveTo({ [i]: place });
    };
    if (control.kind === "select") {
      const list = make("select", { id }, row);
      for (const words of control.texts) make("option", { textContent: words }, list);
      list.addEventListener("change", () => moved(list.selectedIndex));
      return (place) => (list.selectedIndex = place);
    }
    if (control.kind === "checkbox") {
      const box = make("input", { id, type: "checkbox" }, row);
      box.addEventListener("change", () => moved(Number(box.checked)));
      return (place) => (box.checked = place === 1);
    }
    const last = control.texts.length - 1;
    const range = make("input", { id, type: "range", min: 0, max: last, step: 1 }, row);
    const readout = make("span", { className: "explorer-readout" }, row);
    readout.setAttribute("aria-hidden", "true"); // the slider says the same
    range.addEventListener("input", () => moved(Number(range.value)));
    return (place) => {
      range.value = place;
      range.setAttribute("aria-valuetext", control.texts[place]);
      readout.textContent = control.texts[place];
    };
  };
  setters.push(...pack.controls.map(controlOf));

  const buttons = make("div", { className: "explorer-buttons" });
  let player = null;
  if (pack.play !== null) {
    player = make("button", { type: "button", textContent: "Play" }, buttons);
    player.addEventListener("click", () => (clock === null ? start() : stop()));
  }
  const reset = make("button", { type: "button", textContent: "Reset" }, buttons);
  reset.addEventListener("click", () => {
    stop();
    moveTo(starts);
  });

  let [press, held] = [null, null];
  const drag = (pointer) => {
    if (pointer.press !== press) [press, held] = [pointer.press, gripAt(pointer)];
    if (held === null) return;
    stop();
    const [left, top, width, height] = pack.scene.axes[held.axes].box;
    const x = Math.min(Math.max(pointer.x, left), left + width);
    const y = Math.min(Math.max(pointer.y, top), top + height);
    const to = {};
    if (held.x) to[held.x[0]] = nearestTo(held.x[1], x);
    if (held.y) to[held.y[0]] = nearestTo(held.y[1], y);
    moveTo(to);
  };
  const gripAt = ({ x, y }) => {
    const [wide, high] = pack.scene.size;
    const isIn = ([left, top, width, height]) =>
      left <= x && x <= left + width && top <= y && y <= top + height;
    const distance = (grip) =>
      Math.hypot(
        grip.x ? (grip.x[1][places[grip.x[0]]] - x) * wide : 0,
        grip.y ? (grip.y[1][places[grip.y[0]]] - y) * high : 0,
      );
    return pack.grips
      .filter((grip) => isIn(pack.scene.axes[grip.axes].box))
      .reduce((a, b) => (a === null || distance(b) < distance(a) ? b : a), null);
  };
  const view = mount(make("div"), pack.scene, drag);
  const caption = view.element.querySelector(".explorer-caption");

  make("p", { className: "explorer-note", textContent: pack.grid });
  if (pack.fixed.length) {
    const note = make("p", { className: "explorer-note" });
    const fixed = pack.fixed.map(([label, text]) => `“${label}” at ${text}`);
    note.append(`Fixed on this page: ${listed(fixed)}. To move ${pack.fixed.length > 1 ? "them" : "it"}, `);
    make("a", { href: element.dataset.runLink, textContent: "run the notebook" }, note);
    note.append(", since each place needs a new computation in a running kernel.");
  }

  if (pack.pads.length) {
    const note = make("p", { className: "explorer-note" });
    note.append(`“${pack.pads.join("”, “")}” offers its samples here. To draw your own, `);
    make("a", { href: element.dataset.runLink, textContent: "run the notebook" }, note);
    note.append(": a drawing needs a running kernel.");
  }

  // Words are read out once they rest, not at each step of a drag or while it plays.
  let quiet = null;
  const readOutLater = () => {
    caption.setAttribute("aria-live", "off");
    clearTimeout(quiet);
    quiet = setTimeout(() => {
      caption.setAttribute("aria-live", "polite");
      caption.replaceChildren(caption.textContent); // only a change is read out
    }, REST_MS);
  };

  const show = () => {
    setters.forEach((set, i) => set(places[i]));
    const key = places.join(" ");
    if (key === shown) return;
    if (shown !== null) readOutLater();
    shown = key;
    view.show(stateAt(pack, places));
  };
  const moveTo = (to) => {
    for (const i in to) places[i] = to[i];
    show();
  };
  const start = () => {
    const last = pack.controls[pack.play].texts.length - 1;
    if (places[pack.play] === last) moveTo({ [pack.play]: 0 });
    player.textContent = "Stop";
    clock = setInterval(() => {
      moveTo({ [pack.play]: places[pack.play] + 1 });
      if (places[pack.play] === last) stop();
    }, PLAY_MS);
  };
  const stop = () => {
    if (clock === null) return;
    clearInterval(clock);
    clock = null;
    player.textContent = "Play";
  };
  show();
}

const listed = (words) =>
  words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;

/** Load an explorer's states; without them its picture and words stay. */
async function begin(element) {
  try {
    play(element, await packOf(element.dataset.pack));
    element.dataset.state = "ready";
  } catch (error) {
    element.dataset.state = "failed";
    const note = document.createElement("p");
    note.className = "explorer-note";
    note.textContent = `This picture cannot be moved here: ${error.message}.`;
    element.append(note);
  }
}

function beginAll() {
  const look = document.createElement("style");
  look.textContent = LOOK;
  document.head.append(look);
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries)
        if (isIntersecting) {
          observer.unobserve(target);
          begin(target);
        }
    },
    { rootMargin: NEAR },
  );
  for (const each of document.querySelectorAll(".explorer")) observer.observe(each);
}

if (document.readyState === "loading")
  document.addEventListener("DOMContentLoaded", beginAll);
else beginAll();
