// Functions of the page that the tests ask: each takes an explorer's outermost element.
({
  // What has the focus: the words beside it, and whether it is a slider's number.
  focused(root) {
    const element = document.activeElement;
    if (!root.contains(element)) return null;
    const row = element.closest(".widget-inline-hbox");
    const words = row ? row.querySelector("label, span").textContent : "";
    return element.isContentEditable ? null : words || element.textContent;
  },
  // What the picture is made of: its shapes, and a checksum of its background.
  async drawing(root) {
    const clips = new Map();
    for (const clip of root.querySelectorAll("clipPath"))
      clips.set(`url(#${clip.id})`, clip.innerHTML);
    const shapes = [...root.querySelectorAll(".explorer-picture > svg > g > *")].map(
      (shape) =>
        [...shape.attributes]
          .map(({ name, value }) => `${name}=${clips.get(value) ?? value}`)
          .sort()
          .join(" "),
    );
    const image = root.querySelector(".explorer-picture > img");
    await image.decode();
    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
    const sum = bytes.reduce((sum, byte) => (sum * 31 + byte) % 4294967291, 7);
    return [`${bytes.length} bytes, ${sum}`, ...shapes].join("\n");
  },
  // Parts that stick out of the explorer, and labels that are cut.
  misfits(root) {
    const right = root.parentElement.getBoundingClientRect().right + 1;
    const parts = [...root.querySelectorAll("label, .slider, select, button, [role]")];
    return parts
      .filter((part) => part.checkVisibility())
      .filter(
        (part) =>
          part.getBoundingClientRect().right > right ||
          (part.matches("label") && part.scrollWidth > part.clientWidth) ||
          (part.matches(".slider") && part.clientWidth < 100),
      )
      .map((part) => `${part.className} ${part.textContent}`);
  },
  // The smallest contrast of its words with what is behind them (WCAG 2, 1.4.3).
  contrast(root) {
    const numbers = (color) => color.match(/[\d.]+/g).map(Number);
    const luminance = (color) => {
      const [r, g, b] = numbers(color)
        .slice(0, 3)
        .map((c) => c / 255)
        .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (part) => {
      const color = getComputedStyle(part).backgroundColor;
      return numbers(color)[3] === 0 ? behind(part.parentElement) : color;
    };
    const words = root.querySelectorAll("strong, label, .widget-readout, button, select, [role=status]");
    return Math.min(
      ...[...words]
        .filter((part) => part.checkVisibility())
        .map((part) => [luminance(getComputedStyle(part).color), luminance(behind(part))])
        .map(([one, other]) => (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)),
    );
  },
  // Notes once a frame where the explorer, its pictures and what follows stand.
  watch(root) {
    const cell = root.closest(".jp-Cell");
    const place = (element) => {
      const origin = cell.parentElement.getBoundingClientRect();
      const { x, y, width, height } = element.getBoundingClientRect();
      return [x - origin.x, y - origin.y, width, height].join(" ");
    };
    const places = new Set();
    const look = () => {
      const images = root.querySelectorAll(".explorer-picture");
      places.add([root, ...images, cell.nextElementSibling].map(place).join(", "));
      if (window.places === places) requestAnimationFrame(look);
    };
    window.places = places; // an earlier watch ends with this
    look();
  },
});
