// Read by MathJax when it starts. Sphinx marks every formula with the class `math`.

/** Return a displayed formula with its statements, \\qquad apart, one above the other. */
const stacked = (text) => {
  const statements = text.replace(/^\s*\\\[|\\\]\s*$/g, "").split("\\qquad");
  const isWhole = (part) => {
    const braces = part.match(/(?<!\\)[{}]/g) ?? [];
    return braces.filter((each) => each === "{").length * 2 === braces.length;
  };
  if (statements.length === 1 || text.includes("\\begin") || !statements.every(isWhole))
    return text;
  return `\\[\\begin{gathered}${statements.join("\\\\")}\\end{gathered}\\]`;
};

window.MathJax = {
  options: {
    // The menu would make each formula a stop of the Tab key, and offers extensions that
    // are not here to be loaded.
    enableMenu: false,
    ignoreHtmlClass: "mathjax_ignore|document",
    processHtmlClass: "mathjax_process|math",
  },
  startup: {
    ready() {
      // On a phone two statements in a line would become too small to read.
      if (matchMedia("(max-width: 600px)").matches)
        for (const each of document.querySelectorAll("div.math"))
          each.textContent = stacked(each.textContent);
      MathJax.startup.defaultReady();
    },
  },
};
