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
  // A checksum of the pictures' bytes, as soon as the browser has decoded them.
  async checksum(root) {
    const images = [...root.querySelectorAll(".widget-image")];
    await Promise.all(images.map((image) => image.decode()));
    const files = images.map(async (image) => (await fetch(image.src)).blob());
    const bytes = await new Blob(await Promise.all(files)).arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  },
  // Parts that stick out of the explorer, and labels that are cut.
  misfits(root) {
    const right = root.parentElement.getBoundingClientRect().right + 1;
    const parts = [...root.querySelectorAll("label, .slider, select, button, img, [role]")];
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
      const images = root.querySelectorAll(".widget-image");
      places.add([root, ...images, cell.nextElementSibling].map(place).join(", "));
      if (window.places === places) requestAnimationFrame(look);
    };
    window.places = places; // an earlier watch ends with this
    look();
  },
});
